// The Playground: shows a text answer while it comes, and sends a form once. Without it the form's POST shows the same.
(() => {
  const form = document.getElementById("playground");
  const result = document.getElementById("result");
  if (!form || !result) {
    return;
  }
  const button = form.querySelector("button[type=submit]");
  let isSent = false;

  function release() {
    isSent = false;
    button.disabled = false;
  }

  function say(words) {
    const line = document.createElement("p");
    line.setAttribute("role", "alert");
    line.textContent = words;
    result.replaceChildren(line);
  }

  function show(news, answer) {
    if (news.html !== undefined) {
      result.innerHTML = news.html; // a template's, escaped
      form.elements.key.value = news.key;
    } else if (news.error !== undefined) {
      say(news.error);
    } else {
      answer.textContent = news.text === undefined ? answer.textContent + news.more : news.text;
    }
  }

  async function read(response, answer) {
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      const lines = (rest + part.value).split("\n");
      rest = lines.pop();
      lines.filter(Boolean).forEach((line) => show(JSON.parse(line), answer));
    }
  }

  async function send() {
    const answer = document.createElement("p");
    answer.className = "streamed";
    answer.dir = "auto";
    const heading = document.createElement("h2");
    heading.textContent = "Answering …";
    result.replaceChildren(heading, answer);
    try {
      const response = await fetch(form.action, {
        method: "POST",
        body: new FormData(form),
        headers: { Accept: "application/x-ndjson" },
      });
      const type = response.headers.get("Content-Type") || "";
      if (type.startsWith("application/x-ndjson")) {
        await read(response, answer);
      } else if (type.startsWith("application/json")) {
        show(await response.json(), answer);
      } else {
        say("The server did not take it. Reload the page: you may have to log in again.");
      }
    } catch {
      say("The connection broke off; the attempts say what became of the call.");
    }
    release();
  }

  form.addEventListener("submit", (event) => {
    if (isSent) {
      event.preventDefault();
      return;
    }
    isSent = true;
    button.disabled = true;
    if (form.dataset.streams) {
      event.preventDefault();
      send();
    }
  });
  window.addEventListener("pageshow", (event) => event.persisted && release());
})();
