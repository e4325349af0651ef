//! Time that flies: whoever waits waits for a moment only.
//!
//! tokio's paused clock jumps to the next timer as soon as no task can go on. It takes a task that waits for the
//! network for such a one, and so every deadline would be over before the answer is there. Here the clock moves by
//! itself never, and by [`STEP`] whenever a byte has gone over the loopback address and come back: what was sent before
//! that byte has arrived by then, and whoever waits for it can go on. Ten seconds, the shortest deadline of a call, are
//! two thousand such steps, and less than a tenth of a second.

use std::{sync::mpsc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time,
};

const STEP: Duration = Duration::from_millis(5);

pub struct Clock {
    ticking: JoinHandle<()>,
    /// As long as this is here, a thread blocks, and tokio leaves the clock alone.
    _keeps_still: mpsc::Sender<()>,
}

impl Clock {
    pub async fn start() -> Self {
        time::pause();
        let (keeps_still, over) = mpsc::channel();
        tokio::task::spawn_blocking(move || over.recv());
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (near, far) = tokio::join!(TcpStream::connect(address), listener.accept());
        let (near, (far, _)) = (near.expect("a connection"), far.expect("a connection"));
        Self {
            ticking: tokio::spawn(tick(near, far)),
            _keeps_still: keeps_still,
        }
    }
}

impl Drop for Clock {
    fn drop(&mut self) {
        self.ticking.abort();
        // The next fakes of the same test stop the clock again.
        time::resume();
    }
}

async fn tick(mut near: TcpStream, mut far: TcpStream) {
    let mut byte = [0];
    while near.write_all(&byte).await.is_ok() && far.read_exact(&mut byte).await.is_ok() {
        time::advance(STEP).await;
    }
}
