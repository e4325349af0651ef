/** The reference web client of Video Sessions: what is shown when. */
import { connectToBackEnd, onSignedOut, whoIsSignedIn } from "./api.js";
import { h } from "./dom.js";
import { showHome } from "./home.js";
import { signInPage } from "./sign-in.js";
import { troubleSlot } from "./trouble.js";

const app = document.getElementById("app");
let arrival = whatTheAddressBrings();
let leaveHome = () => {};
let atHome = false;

/** `?share_code=` of an invite link; `?success=1` or `?error=<code>` after Zoom's consent page. Read once, and taken away. */
function whatTheAddressBrings() {
  const query = new URLSearchParams(location.search);
  const returned = query.has("success") ? "success" : query.get("error");
  history.replaceState(null, "", location.pathname);
  return { code: query.get("share_code"), returned };
}

async function goHome(person) {
  const brought = arrival;
  arrival = {};
  atHome = true;
  leaveHome = await showHome(app, person, brought);
}

function goToSignIn(reason) {
  leaveHome();
  leaveHome = () => {};
  for (const sheet of document.querySelectorAll("dialog[open]")) sheet.close();
  app.replaceChildren(signInPage({ onSignedIn: goHome, reason, invited: Boolean(arrival.code) }));
}

async function begin() {
  try {
    await connectToBackEnd();
    onSignedOut(() => {
      if (atHome) goToSignIn("You are signed out.");
      atHome = false;
    });
    const person = await whoIsSignedIn();
    if (person) await goHome(person);
    else goToSignIn();
  } catch (error) {
    const trouble = troubleSlot();
    app.replaceChildren(h("main", { class: "sign-in" }, h("h1", {}, "Video sessions"), trouble.element));
    trouble.report(error, begin);
  }
}

void begin();
