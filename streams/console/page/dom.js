// Builds elements. Texts are only ever set as text: what producers write is never read as HTML.

const SVG = "http://www.w3.org/2000/svg";

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : String(value));
  }
  for (const child of children.flat(2)) {
    if (child !== null && child !== undefined && child !== "") element.append(child);
  }
  return element;
}

export function el(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children);
}

export function svg(name, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, name), attributes, children);
}

export const byId = (id) => document.getElementById(id);

// Replaces what is there only if it differs: focus, selection and a screen reader's place stay where they are.
export function put(id, ...children) {
  const place = byId(id);
  const next = document.createElement("div");
  for (const child of children.flat(2)) if (child) next.append(child);
  if (place.innerHTML !== next.innerHTML) {
    const held = place.contains(document.activeElement) ? document.activeElement.getAttribute("data-key") : null;
    place.replaceChildren(...next.childNodes);
    if (held) [...place.querySelectorAll("[data-key]")].find((one) => one.getAttribute("data-key") === held)?.focus();
  }
}
