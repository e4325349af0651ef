/** Signing in, by email and password. The local stack's demo users are a tap away. */
import { signIn } from "./service.js";
import { button, h, icon } from "./dom.js";
import { troubleSlot } from "./trouble.js";

const DEMO_USERS = ["trainer", "nutritionist", "client1", "client2", "client3", "client4", "client5", "client6"];
const DEMO_PASSWORD = "demo-password";
const IS_LOCAL = ["127.0.0.1", "localhost"].includes(location.hostname);

/** @param onSignedIn gets the person */
export function signInPage({ onSignedIn, reason, invited }) {
  const trouble = troubleSlot();
  const email = h("input", {
    id: "email",
    type: "email",
    autocomplete: "username",
    required: true,
    autocapitalize: "none",
  });
  const password = h("input", { id: "password", type: "password", autocomplete: "current-password", required: true });
  const submit = button({ type: "submit", class: "primary wide" }, "Sign in");

  async function submitted(event) {
    event.preventDefault();
    if (submit.classList.contains("busy")) return;
    const empty = [email, password].find(({ value }) => !value.trim());
    if (empty) {
      trouble.tell({ sentence: empty === email ? "Enter your email address." : "Enter your password." });
      empty.focus();
      return;
    }
    await trouble.around(null, submit, "Signing in…", async () =>
      onSignedIn(await signIn(email.value.trim(), password.value)),
    );
  }

  function fillIn(user) {
    email.value = `${user}@demo.test`;
    password.value = DEMO_PASSWORD;
    submit.focus();
  }

  return h(
    "main",
    { class: "sign-in" },
    h("div", { class: "mark" }, icon("video")),
    h("h1", {}, "Video sessions"),
    h(
      "p",
      { class: "soft" },
      invited
        ? "Sign in to join the session you are invited to."
        : "Meet your trainer, your nutritionist, your clients.",
    ),
    reason ? h("p", { class: "note", role: "status" }, reason) : null,
    h(
      "form",
      { class: "card", novalidate: true, onsubmit: submitted },
      h("div", { class: "field" }, h("label", { for: "email" }, "Email"), email),
      h("div", { class: "field" }, h("label", { for: "password" }, "Password"), password),
      trouble.element,
      submit,
    ),
    IS_LOCAL
      ? h(
          "section",
          { class: "demo", "aria-labelledby": "demo-title" },
          h("h2", { id: "demo-title" }, "Demo users"),
          h(
            "p",
            { class: "soft" },
            "A tap fills the form in. Each tab has its own sign-in: be a trainer in one and a client in another.",
          ),
          h(
            "div",
            { class: "chips" },
            DEMO_USERS.map((user) => button({ class: "chip", onclick: () => fillIn(user) }, user)),
          ),
        )
      : null,
  );
}
