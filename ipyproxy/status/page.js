(() => {
  const live = document.getElementById("live");
  let at = document.body.dataset.at;
  let source = null;

  const say = (kind, text) => {
    if (live.textContent === text) return;
    live.className = kind;
    live.textContent = text;
  };

  const put = (id, html) => {
    const made = document.createElement("template");
    made.innerHTML = html;
    const old = document.getElementById(id);
    if (old) old.replaceWith(made.content);
    else document.getElementById("rows").append(made.content);
  };

  const take = (event) => {
    const news = JSON.parse(event.data);
    at = event.lastEventId;
    for (const [id, html] of Object.entries(news.parts)) put(id, html);
    if (news.rows) {
      const rows = news.rows.map((id) => document.getElementById(id));
      document.getElementById("rows").replaceChildren(...rows);
    }
    say("on", "live");
  };

  const stop = () => {
    if (source) source.close();
    source = null;
    say("", "paused");
  };

  const start = () => {
    if (source) return;
    source = new EventSource("/_ipyproxy/live?since=" + at);
    source.onopen = () => say("on", "live");
    source.onmessage = take;
    source.onerror = () => {
      // By itself it would come back and ask for all that was new at its beginning.
      stop();
      say("off", "not live, trying again");
      setTimeout(() => { if (!document.hidden) start(); }, 3000);
    };
  };

  // Nothing is sent to a page that nobody sees.
  document.addEventListener("visibilitychange", () => { if (document.hidden) stop(); else start(); });
  if (!document.hidden) start();
})();
