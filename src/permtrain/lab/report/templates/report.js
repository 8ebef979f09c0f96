"use strict";
// Plotly draws; this fills in colours, puts the chosen data in, and remembers choices.
(() => {
  const data = JSON.parse(document.getElementById("chart-data").textContent);
  const root = document.documentElement;
  const find = (id) => document.getElementById(id);

  // Choices outlive a refresh of the live view. Some browsers refuse storage to files.
  const key = "permtrain-report";
  let kept = {};
  try { kept = JSON.parse(sessionStorage.getItem(key)) || {}; } catch { kept = {}; }
  function keep(change) {
    Object.assign(kept, change);
    try { sessionStorage.setItem(key, JSON.stringify(kept)); } catch { /* they are lost */ }
  }

  // ---- charts in the page's colours
  const drawn = new Map();
  function themed(layout) {
    const style = getComputedStyle(root);
    const [text, grid] = ["--text", "--grid"].map((name) => style.getPropertyValue(name).trim());
    const axis = (given) => ({ ...given, gridcolor: grid, zerolinecolor: grid, linecolor: grid });
    return {
      ...layout,
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { color: text, size: 13 },
      hoverlabel: { bgcolor: style.getPropertyValue("--raised").trim(), font: { color: text } },
      xaxis: axis(layout.xaxis),
      yaxis: axis(layout.yaxis),
    };
  }
  // The box is as high as its drawing; on narrow screens the lines of a legend come on top.
  function fit(element, { data: traces, layout }) {
    const named = layout.legend && element.clientWidth < 600
      ? traces.filter((trace) => trace.showlegend !== false) : [];
    const lines = named.reduce((sum, trace) => sum + trace.name.split("<br>").length, 0);
    element.style.height = `${layout.height + 18 * lines}px`;
  }
  function draw(element, figure) {
    drawn.set(element, figure);
    fit(element, figure);
    const layout = { ...themed(figure.layout), height: element.clientHeight };
    return Plotly.react(element, figure.data, layout, { displayModeBar: false });
  }
  let resized = null;
  addEventListener("resize", () => {
    clearTimeout(resized);
    resized = setTimeout(() => drawn.forEach((figure, element) => {
      if (!element.clientWidth) return; // folded up
      fit(element, figure);
      Plotly.Plots.resize(element);
    }), 100);
  });
  const redrawAll = () => drawn.forEach((figure, element) => draw(element, figure));

  // ---- light and dark
  const system = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);
  const themeButton = find("theme");
  function showTheme() {
    themeButton.setAttribute("aria-pressed", String(isDark()));
    redrawAll();
  }
  if (kept.theme) root.dataset.theme = kept.theme;
  themeButton.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    keep({ theme: root.dataset.theme });
    showTheme();
  });
  system.addEventListener("change", showTheme);

  function choose(select, name, count) {
    if (kept[name] < count) select.value = kept[name];
    select.addEventListener("change", () => keep({ [name]: Number(select.value) }));
  }

  // ---- learning curves
  if (data.curves.length) {
    const measure = find("measure");
    const show = () => draw(find("curve-chart"), data.curves[measure.value].figure);
    choose(measure, "measure", data.curves.length);
    measure.addEventListener("change", show);
    show();
  }

  // ---- accuracy against bytes
  if (data.smallFiles) draw(find("bytes-chart"), data.smallFiles);

  // ---- weights on their way
  if (data.runs.length) {
    const [run, layer, checkpoint, play] = ["run", "layer", "checkpoint", "play"].map(find);
    const percent = (fraction) => `${(100 * fraction).toFixed(1)}%`;
    const chosen = () => data.runs[run.value].layers[layer.value];

    function mostMoved() {
      const moved = data.runs[run.value].layers.map((each) => each.states.at(-1).moved_fraction);
      return moved.indexOf(Math.max(...moved));
    }
    function listLayers() {
      const before = layer.value;
      const names = data.runs[run.value].layers.map((each) => each.name);
      layer.replaceChildren(...names.map((name, number) => new Option(name, number)));
      layer.value = before !== "" && before < names.length ? before : mostMoved();
      const last = chosen().states.length - 1;
      checkpoint.max = last;
      return last;
    }
    function showState() {
      const { name, heat, dots, states } = chosen();
      const state = states[checkpoint.value];
      const words = state.step === 0
        ? `Step 0: ${name} as it was born.`
        : `Step ${state.step.toLocaleString("en")}: ${percent(state.moved_fraction)} of the places of `
          + `${name} hold another value than at first; mean change of rank `
          + `${percent(state.ranking_distance)} of the vector’s length.`;
      find("state").textContent = words;
      checkpoint.setAttribute("aria-valuetext", `step ${state.step}`);
      draw(find("dots-chart"), { ...dots, data: [{ ...dots.data[0], y: state.dots }] });
      draw(find("heat-chart"), { ...heat, data: [{ ...heat.data[0], z: state.heat }] });
    }
    function goTo(place) {
      checkpoint.value = place;
      // The last one stays the last one when the live view brings more.
      keep({ checkpoint: place >= checkpoint.max ? null : place });
      showState();
    }

    let playing = null;
    function stop() {
      clearInterval(playing);
      playing = null;
      play.setAttribute("aria-pressed", "false");
    }
    play.addEventListener("click", () => {
      if (playing !== null) return stop();
      play.setAttribute("aria-pressed", "true");
      if (checkpoint.value === checkpoint.max) goTo(0);
      playing = setInterval(() => {
        goTo(Number(checkpoint.value) + 1);
        if (checkpoint.value === checkpoint.max) stop();
      }, 600);
    });

    choose(run, "run", data.runs.length);
    listLayers();
    choose(layer, "layer", data.runs[run.value].layers.length);
    goTo(Math.min(kept.checkpoint ?? Infinity, listLayers()));
    run.addEventListener("change", () => goTo(listLayers()));
    layer.addEventListener("change", showState);
    checkpoint.addEventListener("input", () => { stop(); goTo(Number(checkpoint.value)); });
  }

  // ---- sizes, drawn when their run is opened: what is folded up has no width
  document.querySelectorAll("details.run").forEach((details) => {
    const chart = details.querySelector("[data-size]");
    if (!chart) return;
    const show = () => details.open && draw(chart, data.sizes[chart.dataset.size]);
    details.addEventListener("toggle", show);
    show();
  });
  function openAddressed() {
    const details = location.hash.startsWith("#run-") && find(location.hash.slice(1));
    if (details) details.open = true;
  }
  addEventListener("hashchange", openAddressed);
  openAddressed();

  // ---- the live view
  const pause = find("pause");
  if (pause) {
    let paused = kept.paused || false;
    const show = () => pause.setAttribute("aria-pressed", String(paused));
    pause.addEventListener("click", () => { paused = !paused; keep({ paused }); show(); });
    setInterval(() => { if (!paused) location.reload(); }, 1000 * data.refreshSeconds);
    show();
  }
  showTheme();
})();
