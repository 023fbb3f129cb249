// The invite, reset and front pages. Talks to ../../webapi only; shows text as text.
"use strict";
(() => {
  const root = document.documentElement;
  const page = root.dataset.page;
  const at = (id) => document.getElementById(id);
  const segments = location.pathname.split("/");
  const secret = segments[segments.length - 1];
  const state = { lang: root.lang in TEXTS ? root.lang : "en", invite: null, error: null };
  try {
    // The appearance that was chosen in the app, on this browser.
    root.dataset.theme = localStorage.getItem("theme") ?? "auto";
  } catch {
    // A browser that keeps nothing: as the system says.
  }
  const say = (key, values = {}) =>
    TEXTS[state.lang][key].replace(/\{(\w+)\}/g, (whole, name) => (name in values ? values[name] : whole));

  function show(id) {
    for (const name of ["wait", "gone", "trouble", "ask", "done", "home"]) {
      if (at(name)) at(name).hidden = name !== id;
    }
  }

  function render() {
    root.lang = state.lang;
    for (const element of document.querySelectorAll("[data-t]")) element.textContent = say(element.dataset.t);
    const button = at("language");
    button.textContent = say("otherLanguage");
    button.lang = state.lang === "en" ? "zh-CN" : "en";
    button.hidden = false;
    if (state.invite) {
      const expires = new Date(state.invite.expires).toLocaleString(state.lang, { dateStyle: "medium", timeStyle: "short" });
      const values = { user: state.invite.user, expires };
      at("title").textContent = say(page + "Title", values);
      at("intro").textContent = say(page + "Intro", values);
      at("picture").alt = say("pictureAlt");
      document.title = say(page + "Title", values) + " · Moongate";
    }
    if (at("error")) {
      at("error").hidden = !state.error;
      at("error").textContent = state.error ? (state.error.key ? say(state.error.key) : state.error.text) : "";
    }
  }

  async function post(path, body) {
    const response = await fetch("../../webapi/" + path, {
      method: "POST",
      headers: { "content-type": "application/json" },
      credentials: "omit",
      cache: "no-store",
      body: JSON.stringify(body),
    });
    let answer = null;
    try {
      answer = await response.json();
    } catch {
      // A front in between may answer with a page of its own.
    }
    return { status: response.status, answer };
  }

  function rules() {
    const password = at("password").value;
    const length = [...password].length;
    const user = state.invite.user.toLowerCase();
    const telling = password.toLowerCase().includes(user) && length < [...user].length + 12;
    const kept = {
      "rule-length": length >= 12 && length <= 128,
      "rule-name": password !== "" && !telling,
      "rule-same": password !== "" && password === at("repeat").value,
    };
    for (const [id, good] of Object.entries(kept)) at(id).classList.toggle("good", good);
    return Object.values(kept).every(Boolean);
  }

  async function load() {
    show("wait");
    try {
      const { status, answer } = await post("invite", { secret });
      if (status === 200 && answer) return ask(answer);
      show(status === 404 || status === 400 ? "gone" : "trouble");
    } catch {
      show("trouble");
    }
  }

  function ask(invite) {
    state.invite = invite;
    at("user").value = invite.user;
    at("picture").src = "data:image/svg+xml;charset=utf-8," + encodeURIComponent(invite.otp_qr_svg);
    at("picture").hidden = false;
    const uri = invite.otp_uri;
    const key = /[?&]secret=([^&]+)/.exec(uri);
    at("secret").textContent = key ? key[1].replace(/(.{4})(?=.)/g, "$1 ") : uri;
    if (uri.startsWith("otpauth://")) at("uri").href = uri;
    render();
    rules();
    show("ask");
    at("password").focus();
  }

  function fail(error, field) {
    state.error = error;
    render();
    if (field) at(field).focus();
  }

  async function send(event) {
    event.preventDefault();
    state.error = null;
    render();
    const otp = at("code").value.replace(/\s/g, "");
    if (!rules()) return fail({ key: "errorPassword" }, "password");
    if (!/^[0-9]{6}$/.test(otp)) return fail({ key: "errorCode" }, "code");
    at("send").disabled = true;
    at("send").textContent = say("sending");
    try {
      const { status, answer } = await post("invite/accept", { secret, password: at("password").value, otp });
      if (status === 200) return finish();
      if (status === 404) return show("gone");
      if (status === 429) return fail({ key: "errorTooMany" });
      if (status >= 500 || !answer || !answer.message) return fail({ key: "errorAway" });
      fail({ text: answer.message }, "code");
    } catch {
      fail({ key: "errorAway" });
    } finally {
      at("send").disabled = false;
      at("send").textContent = say("send");
    }
  }

  function finish() {
    at("form").reset();
    at("picture").removeAttribute("src");
    at("secret").textContent = "";
    at("uri").removeAttribute("href");
    command(state.invite.user);
    show("done");
    at("done").focus();
  }

  function command(user) {
    const port = location.port || (location.protocol === "https:" ? "443" : "80");
    at("command").textContent = "msh login --proxy=" + location.hostname + ":" + port + " --user=" + user;
  }

  at("language").addEventListener("click", () => {
    state.lang = state.lang === "en" ? "zh-CN" : "en";
    render();
  });
  at("copy").addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(at("command").textContent);
      at("copy").textContent = say("copied");
    } catch {
      getSelection().selectAllChildren(at("command"));
    }
  });
  render();
  if (page === "home") {
    command("NAME");
    show("home");
    return;
  }
  at("form").addEventListener("submit", send);
  at("password").addEventListener("input", rules);
  at("repeat").addEventListener("input", rules);
  at("show").addEventListener("change", () => {
    for (const id of ["password", "repeat"]) at(id).type = at("show").checked ? "text" : "password";
  });
  at("again").addEventListener("click", load);
  load();
})();
