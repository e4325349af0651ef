/** The reference web client of Video Sessions: what is shown when. */
import { connectToBackEnd, onSignedOut, whoIsSignedIn } from "./service.js";
import { h } from "./dom.js";
import { showHome } from "./home.js";
import { signInPage } from "./sign-in.js";
import { arrive, arrived } from "./arrival.js";
import { troubleSlot } from "./trouble.js";

const app = document.getElementById("app");
let leaveHome = () => {};
let atHome = false;

async function goHome(person) {
  atHome = true;
  leaveHome = await showHome(app, person, arrived());
}

function goToSignIn(reason) {
  leaveHome();
  leaveHome = () => {};
  for (const sheet of document.querySelectorAll("dialog[open]")) sheet.close();
  app.replaceChildren(signInPage({ onSignedIn: goHome, reason, invited: arrived()?.kind === "invite" }));
}

async function begin() {
  try {
    arrive();
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
