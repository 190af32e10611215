/* What is hard to read on this page, measured where it stands: a list of sentences.

Contrast is that of WCAG 2.2 (success criterion 1.4.3, level AA, for text of any size):
https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio */
({ within, smallest, contrast }) => {
  const SLACK = 1; // pixels that rounding may take
  const width = document.documentElement.clientWidth;
  const found = new Set();

  const named = (node) => {
    const element = node.nodeType === Node.TEXT_NODE ? node.parentElement : node;
    const name = element.getAttribute("class") || "";
    const text = node.textContent.trim().replace(/\s+/g, " ").slice(0, 40);
    return `<${element.localName}${name && ` class="${name}"`}> "${text}"`;
  };

  // Colors. A canvas knows every way to write one.
  const ink = document.createElement("canvas").getContext("2d", {
    willReadFrequently: true,
  });
  const known = new Map();
  const rgba = (color) => {
    if (!known.has(color)) {
      ink.clearRect(0, 0, 1, 1);
      ink.fillStyle = color;
      ink.fillRect(0, 0, 1, 1);
      const [red, green, blue, alpha] = ink.getImageData(0, 0, 1, 1).data;
      known.set(color, [red, green, blue, alpha / 255]);
    }
    return known.get(color);
  };
  const over = ([r, g, b, a], under) =>
    [r, g, b].map((c, i) => a * c + (1 - a) * under[i]).concat(1);
  const luminance = (color) => {
    const [r, g, b] = color.slice(0, 3).map((c) => {
      const part = c / 255;
      return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ratio = (one, other) => {
    const [dark, light] = [luminance(one), luminance(other)].sort((a, b) => a - b);
    return (light + 0.05) / (dark + 0.05);
  };

  const probe = document.documentElement.appendChild(document.createElement("i"));
  probe.style.color = "Canvas";
  const canvas = rgba(getComputedStyle(probe).color);
  probe.remove();

  // The colors that may lie under a box: of what it stands in, of every stop of a
  // gradient, and of the shapes drawn under it in its plot.
  const grounds = (element, box) => {
    let under = [canvas];
    const chain = [];
    for (let at = element; at; at = at.parentElement) chain.unshift(at);
    for (const at of chain) {
      const style = getComputedStyle(at);
      under = under.map((color) => over(rgba(style.backgroundColor), color));
      const stops = style.backgroundImage.match(/rgba?\([^)]*\)/g) || [];
      const shades = stops.flatMap((stop) => under.map((c) => over(rgba(stop), c)));
      const opaque = stops.length && stops.every((stop) => rgba(stop)[3] === 1);
      under = opaque ? shades : under.concat(shades);
    }
    const plot = chain.find((at) => at.localName === "svg");
    if (!plot) return under;
    for (const shape of plot.querySelectorAll("rect, path, circle, ellipse, polygon")) {
      const after = element.compareDocumentPosition(shape);
      if (after & Node.DOCUMENT_POSITION_FOLLOWING) continue;
      const around = shape.getBoundingClientRect();
      if (!meet(around, box, 0)) continue;
      const style = getComputedStyle(shape);
      if (style.fill === "none") continue;
      const [r, g, b, a] = rgba(style.fill);
      const fill = [r, g, b, a * style.fillOpacity * style.opacity];
      const filled = under.map((color) => over(fill, color));
      const whole = shape.localName === "rect" && holds(around, box);
      under = whole ? filled : under.concat(filled);
    }
    return under;
  };
  const opacity = (element) => {
    let whole = 1;
    for (let at = element; at; at = at.parentElement)
      whole *= getComputedStyle(at).opacity;
    return whole;
  };

  // Boxes.
  const meet = (one, other, slack) =>
    Math.min(one.right, other.right) - Math.max(one.left, other.left) > slack &&
    Math.min(one.bottom, other.bottom) - Math.max(one.top, other.top) > slack;
  const holds = (one, other) =>
    one.left <= other.left &&
    one.right >= other.right &&
    one.top <= other.top &&
    one.bottom >= other.bottom;
  const inner = (element) => {
    if (element.localName === "svg" && element.ownerSVGElement) {
      const at = element.getScreenCTM(); // a drawing in a drawing has no client box
      const right = at.e + at.a * element.width.baseVal.value;
      const bottom = at.f + at.d * element.height.baseVal.value;
      return { left: at.e, top: at.f, right, bottom };
    }
    const box = element.getBoundingClientRect();
    const left = box.left + element.clientLeft;
    const top = box.top + element.clientTop;
    const [right, bottom] =
      element.localName === "svg"
        ? [box.right, box.bottom]
        : [left + element.clientWidth, top + element.clientHeight];
    return { left, top, right, bottom };
  };
  const scrolls = (element) =>
    ["auto", "scroll"].includes(getComputedStyle(element).overflowX) &&
    element !== document.documentElement &&
    element !== document.body;

  // Whether a box is cut off, outside of the page, or neither.
  const lost = (element, box) => {
    let fixed = false;
    for (let at = element; at && at !== document.body; at = at.parentElement) {
      const style = getComputedStyle(at);
      if (scrolls(at)) return ""; // its reader can scroll to it
      const boxed = style.display !== "inline" || at.localName === "svg";
      const open = style.overflowX === "visible" && style.overflowY === "visible";
      if (boxed && !open) {
        const edge = inner(at);
        const sides = box.left < edge.left - SLACK || box.right > edge.right + SLACK;
        const ends = box.top < edge.top - SLACK || box.bottom > edge.bottom + SLACK;
        if (sides || ends) return "is cut off";
      }
      fixed ||= style.position === "fixed";
    }
    const above = box.top + (fixed ? 0 : scrollY) < -SLACK;
    return above || box.left < -SLACK || box.right > width + SLACK
      ? "is outside of the page"
      : "";
  };

  const texts = [];
  const seen = (element) =>
    element.checkVisibility({ opacityProperty: true, visibilityProperty: true });
  const silent = "script, style, title, desc, template, noscript";
  for (const root of document.querySelectorAll(within)) {
    const walk = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
    for (let node = walk.nextNode(); node; node = walk.nextNode()) {
      const element = node.parentElement;
      const text = node.textContent.trim();
      if (!text || element.closest(silent) || !seen(element)) continue;
      const range = document.createRange();
      range.selectNodeContents(node);
      const lines = [...range.getClientRects()].filter((b) => b.width && b.height);
      for (const box of lines) texts.push({ node, element, box });
    }
  }

  if (document.documentElement.scrollWidth > width)
    found.add(`the page scrolls sideways: ${document.documentElement.scrollWidth} px`);
  for (const { node, element, box } of texts) {
    const style = getComputedStyle(element);
    const drawn = element.getScreenCTM ? Math.abs(element.getScreenCTM().d) : 1;
    const size = parseFloat(style.fontSize) * drawn;
    if (size < smallest)
      found.add(`${named(node)} has letters of ${size.toFixed(1)} px`);
    const where = lost(element, box);
    if (where) found.add(`${named(node)} ${where}`);
    const [r, g, b, a] = rgba(element.ownerSVGElement ? style.fill : style.color);
    const shown = [r, g, b, a * opacity(element)];
    const least = Math.min(
      ...grounds(element, box).map((ground) => ratio(over(shown, ground), ground)),
    );
    if (least < contrast)
      found.add(`${named(node)} has a contrast of ${least.toFixed(2)}`);
  }

  // Texts over one another, from the top; what a scrolling box hides is not in the way.
  const visible = texts.map((text) => {
    let { left, right, top, bottom } = text.box;
    for (let at = text.element; at; at = at.parentElement) {
      if (!scrolls(at)) continue;
      const edge = inner(at);
      [left, right] = [Math.max(left, edge.left), Math.min(right, edge.right)];
    }
    return { ...text, box: { left, right, top, bottom } };
  });
  visible.sort((one, other) => one.box.top - other.box.top);
  visible.forEach(({ node, box }, number) => {
    for (const other of visible.slice(number + 1)) {
      if (other.box.top > box.bottom) break;
      // The boxes of lines set close have their spare space in common, not their ink.
      const heights = [box, other.box].map(({ top, bottom }) => bottom - top);
      const spare = Math.min(...heights) / 4;
      if (other.node !== node && meet(box, other.box, Math.max(SLACK, spare)))
        found.add(`${named(node)} overlaps ${named(other.node)}`);
    }
  });

  for (const box of document.querySelectorAll("*")) {
    if (!scrolls(box) || box.scrollWidth <= box.clientWidth + SLACK) continue;
    if (box.tabIndex < 0) found.add(`${named(box)} scrolls, but no key reaches it`);
  }
  return [...found];
}
