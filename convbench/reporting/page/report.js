"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const by = (id) => document.getElementById(id);
  const made = (name, text, kind) => {
    const element = document.createElement(name);
    if (text !== undefined) element.textContent = text;
    if (kind) element.className = kind;
    return element;
  };

  // --- rows ----------------------------------------------------------------------------------------------------------
  const names = Object.keys(data.columns);
  const column = ({ words, at }) => at.map((number) => words[number]);
  const values = Object.fromEntries(names.map((n) => [n, data.columns[n].words ? column(data.columns[n]) : data.columns[n]]));
  const count = names.length ? values[names[0]].length : 0;
  const rows = Array.from({ length: count }, (_, i) => Object.fromEntries(names.map((n) => [n, values[n][i]])));
  const bulky = new Set(["rounds", "samples_ms", "processes", "hazards"]);
  const plain = (row) => Object.fromEntries(Object.entries(row).filter(([name]) => !bulky.has(name)));

  const significant = (value, digits = 3) => {
    if (value === null || value === undefined) return "–";
    if (value === 0) return "0";
    const decimals = Math.max(0, digits - 1 - Math.floor(Math.log10(Math.abs(value))));
    return value.toLocaleString("en", { minimumFractionDigits: decimals, maximumFractionDigits: decimals });
  };
  const percent = (share) => (share === null ? "–" : significant(share * 100, 2));
  const interval = (row) => {
    if (row.low_ms === null || row.high_ms === null) return "";
    const [low, high] = [significant(row.low_ms, 4), significant(row.high_ms, 4)];
    if (!row.covers && row.low_ms === row.high_ms) return "one sample";
    return row.covers ? `[${low}, ${high}]` : `(${low} … ${high})`;
  };
  const columns = [
    ["case", "case", (row) => row.case, "text"],
    ["backend", "backend", (row) => row.backend + (row.precision ? ` in ${row.precision}, not ranked` : ""), "text"],
    ["median ms", "median_ms", (row) => significant(row.median_ms, 4)],
    ["95 % interval ms", "low_ms", interval],
    ["% of fastest", "share", (row) => percent(row.share) + (row.level ? " level" : "")],
    ["GFLOP/s", "gflops", (row) => significant(row.gflops)],
    ["% of limit", "limit", (row) => percent(row.limit)],
    ["error/bound", "error", (row) => (row.error === null ? "–" : row.error.toExponential(0))],
    ["first ms", "first_ms", (row) => significant(row.first_ms)],
    ["peak MiB", "peak_mib", (row) => significant(row.peak_mib)],
    ["implementation", "implementation", (row) => row.implementation, "text"],
    ["status", "status", (row) => row.status, "text"],
    ["why, or what to know", "reason", (row) => row.reason || row.hazards.join(", "), "text"],
  ];
  const shownColumns = columns.filter(([, key]) => key === "case" || rows.some((row) => row[key] !== null && row[key] !== ""));

  // --- selection -----------------------------------------------------------------------------------------------------
  const distinct = (key) => [...new Set(rows.map((row) => row[key]))];
  const fill = (select, words) => words.forEach((value) => select.append(new Option(value, value)));
  fill(by("conditions"), distinct("conditions"));
  const fillSuites = () => {
    const chosen = by("suite").value;
    const here = rows.filter((row) => row.conditions === by("conditions").value);
    const suites = [...new Set(here.map((row) => row.suite))];
    by("suite").replaceChildren();
    fill(by("suite"), suites);
    if (suites.includes(chosen)) by("suite").value = chosen;
  };
  fillSuites();
  by("selection").hidden = distinct("conditions").length < 2 && distinct("suite").length < 2;
  by("status").append(new Option("all", ""));
  fill(by("status"), distinct("status"));
  const isSelected = (row) =>
    (row.conditions === undefined || row.conditions === by("conditions").value) &&
    (row.suite === undefined || row.suite === by("suite").value);

  // --- table ---------------------------------------------------------------------------------------------------------
  const STEP = 200;
  let order = { key: null, down: false };
  let limit = STEP;
  let current = [];
  const searchable = (row) => [row.backend, row.case, row.case_id, row.layer, row.implementation, row.status, row.reason].join(" ").toLowerCase();
  rows.forEach((row) => (row.searchable = searchable(row)));
  bulky.add("searchable");
  const compare = (a, b) => {
    const [x, y] = [a[order.key], b[order.key]];
    if (x === y) return 0;
    if (x === null || x === "") return 1;
    if (y === null || y === "") return -1;
    return (x < y ? -1 : 1) * (order.down ? -1 : 1);
  };
  const renderTable = () => {
    const words = by("search").value.toLowerCase().split(/\s+/).filter(Boolean);
    const status = by("status").value;
    current = rows.filter(
      (row) => isSelected(row) && (!status || row.status === status) && words.every((word) => row.searchable.includes(word)),
    );
    if (order.key) current = [...current].sort(compare);
    const body = document.createDocumentFragment();
    current.slice(0, limit).forEach((row, index) => {
      const line = made("tr");
      line.dataset.index = index;
      shownColumns.forEach(([, key, shown, kind]) => {
        const cell = made("td", shown(row), kind);
        if (kind) cell.title = key === "case" ? [row.case_id, row.layer].filter(Boolean).join(", ") : cell.textContent;
        if (key === "share" && row.share !== null) {
          cell.classList.add("share");
          cell.style.setProperty("--share", Math.min(1, row.share));
        }
        if (key === "status" && row.status !== "ok") cell.classList.add("bad");
        line.append(cell);
      });
      body.append(line);
    });
    by("pairs").tBodies[0].replaceChildren(body);
    by("more").hidden = current.length <= limit;
    by("shown").textContent = `${Math.min(limit, current.length).toLocaleString("en")} of ${current.length.toLocaleString("en")} shown`;
  };
  const heading = made("tr");
  shownColumns.forEach(([title, key, , kind]) => {
    const cell = made("th", title, kind);
    cell.tabIndex = 0;
    const sort = () => {
      order = { key, down: order.key === key ? !order.down : false };
      heading.querySelectorAll("th").forEach((one) => one.removeAttribute("aria-sort"));
      cell.setAttribute("aria-sort", order.down ? "descending" : "ascending");
      renderTable();
    };
    cell.addEventListener("click", sort);
    cell.addEventListener("keydown", (event) => event.key === "Enter" && sort());
    heading.append(cell);
  });
  by("pairs").tHead.append(heading);
  by("filters").addEventListener("submit", (event) => event.preventDefault());
  by("search").addEventListener("input", () => { limit = STEP; renderTable(); });
  by("status").addEventListener("change", () => { limit = STEP; renderTable(); });
  by("more").addEventListener("click", () => { limit += 5 * STEP; renderTable(); });
  window.addEventListener("beforeprint", () => { limit = Math.max(limit, 1000); renderTable(); });

  const save = (name, text) => {
    const link = made("a");
    link.href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
    link.download = name;
    link.click();
    URL.revokeObjectURL(link.href);
  };
  const asCsv = (lines) => {
    // A cell that begins like a formula would be computed by a spreadsheet.
    const cell = (value) => {
      const text = value === null || value === undefined ? "" : String(value);
      const safe = typeof value === "string" && /^[=+\-@\t]/.test(text) ? "'" + text : text;
      return /[",\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
    };
    const keys = [...new Set(lines.flatMap((line) => Object.keys(line)))];
    return [keys.join(","), ...lines.map((line) => keys.map((key) => cell(line[key])).join(","))].join("\n") + "\n";
  };
  by("csv").addEventListener("click", () => save("pairs.csv", asCsv(current.map(plain))));

  // --- figures -------------------------------------------------------------------------------------------------------
  const theme = () => document.documentElement.dataset.theme;
  const options = (fileName) => ({
    ast: true, renderer: "svg", theme: theme() === "dark" ? "dark" : undefined,
    logLevel: 1, // errors, not warnings
    actions: { export: true, source: false, compiled: false, editor: false }, downloadFileName: fileName, scaleFactor: { png: 2, svg: 1 },
    config: { background: getComputedStyle(document.documentElement).getPropertyValue("--paper").trim(), font: "system-ui, sans-serif" },
  });
  // Where there is little room, labels get less of it, and the legend stands below instead of beside.
  const fitted = (specification, width) => {
    if (width > 640) return specification;
    const { config } = specification;
    const labels = Math.max(70, Math.round(width / 3));
    const narrow = { axisX: { ...config.axisX, tickCount: 4 }, axisY: { ...config.axisY, labelLimit: labels },
      legend: { orient: "bottom", columns: 2, labelLimit: labels, gradientLength: width / 2, direction: "horizontal" } };
    return { ...specification, config: { ...config, ...narrow } };
  };
  const draw = (where, specification, sets, fileName) =>
    window.vegaEmbed(where, { ...fitted(specification, where.clientWidth), datasets: sets }, options(fileName)).catch((error) => where.replaceChildren(made("p", String(error))));
  const setsNow = () => {
    const sets = { rows: rows.filter(isSelected).map(plain) };
    for (const [name, lines] of Object.entries(data.sets)) sets[name] = lines.filter(isSelected);
    return sets;
  };
  const fileName = (title) => title.toLowerCase().replaceAll(/[^a-z0-9]+/g, "-");
  const plots = [];
  const renderFigures = () => {
    if (!data.figures.length) return;
    const sets = setsNow();
    plots.forEach(({ figure, element, where }) => {
      element.hidden = !sets[figure.data].some((line) => line[figure.needs] !== null && line[figure.needs] !== undefined);
      element.dataset.stale = "yes";
      if (element.hidden) where.replaceChildren();
    });
    plots.forEach((plot) => { if (!plot.element.hidden && plot.isVisible) drawPlot(plot, sets); });
  };
  const drawPlot = (plot, sets) => {
    plot.element.dataset.stale = "no";
    draw(plot.where, plot.figure.specification, sets, fileName(plot.figure.title)).then(() => (plot.element.dataset.drawn = "yes"));
  };
  // A figure is drawn when it is about to be seen, and all of them before the page is printed.
  const watcher = new IntersectionObserver((entries) => entries.forEach((entry) => {
    const plot = plots.find((one) => one.element === entry.target);
    plot.isVisible = entry.isIntersecting;
    if (entry.isIntersecting && plot.element.dataset.stale === "yes") drawPlot(plot, setsNow());
  }), { rootMargin: "600px" });
  data.figures.forEach((figure) => {
    const element = made("figure");
    const caption = made("figcaption");
    caption.append(made("b", figure.title), made("span", [figure.caption, figure.hint, ""].join(" ")));
    const button = made("button", "CSV");
    button.type = "button";
    button.addEventListener("click", () => save(`${fileName(figure.title)}.csv`, asCsv(figure.data_names.flatMap((name) => setsNow()[name]))));
    caption.append(button);
    const where = made("div", undefined, "plot");
    element.append(caption, where);
    by("figures").append(element);
    plots.push({ figure, element, where, isVisible: false });
    watcher.observe(element);
  });
  // On paper nothing can be opened.
  const closed = () => [...document.querySelectorAll("section details:not([open], .vega-embed)")];
  let opened = [];
  window.addEventListener("beforeprint", () => { opened = closed(); opened.forEach((one) => (one.open = true)); });
  window.addEventListener("afterprint", () => opened.forEach((one) => (one.open = false)));
  window.addEventListener("beforeprint", () => {
    const sets = setsNow();
    plots.filter((plot) => !plot.element.hidden && plot.element.dataset.stale === "yes").forEach((plot) => drawPlot(plot, sets));
  });

  // --- the samples of a pair -----------------------------------------------------------------------------------------
  by("pairs").tBodies[0].addEventListener("click", (event) => {
    const line = event.target.closest("tr");
    if (!line) return;
    const row = current[Number(line.dataset.index)];
    const dialog = by("pair");
    dialog.querySelector("h3").textContent = `${row.backend} on ${row.case}`;
    const spread = row.samples_ms.length === 1 ? ", one sample" : ` ${interval(row)}, ${row.samples_ms.length} samples`;
    const figures = row.median_ms === null ? row.reason : `${significant(row.median_ms, 4)} ms${spread}`;
    dialog.querySelector("p").textContent = [figures, row.implementation, ...row.hazards].filter(Boolean).join("; ");
    const where = dialog.querySelector(".plot");
    where.replaceChildren();
    dialog.showModal();
    if (data.samples && row.samples_ms.length) {
      const shared = { median_ms: row.median_ms, low_ms: row.low_ms, high_ms: row.high_ms };
      const samples = row.samples_ms.map((ms, i) => ({ ms, round: (row.rounds ? row.rounds[i] : i) + 1, process: (row.processes ?? [])[i] ?? 0, ...shared }));
      draw(where, data.samples, { samples }, fileName(`${row.backend} ${row.case}`));
    }
  });

  // --- theme ---------------------------------------------------------------------------------------------------------
  const dress = (name) => {
    document.documentElement.dataset.theme = name;
    by("theme").textContent = name === "dark" ? "Light" : "Dark";
  };
  by("theme").addEventListener("click", () => { dress(theme() === "dark" ? "light" : "dark"); renderFigures(); });
  dress(window.matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");

  by("conditions").addEventListener("change", () => { fillSuites(); limit = STEP; renderTable(); renderFigures(); });
  by("suite").addEventListener("change", () => { limit = STEP; renderTable(); renderFigures(); });
  renderTable();
  renderFigures();
  document.documentElement.dataset.ready = "yes";
})();
