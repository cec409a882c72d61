// The settings of the form as the end of the page's address, after "#sampler:".

const MARK = "#sampler:";
const NAMES = ["S", "n", "seed", "to", "eta", "beside", "walk", "way", "digit", "w", "show",
  "half", "put"];

export function write(form) {
  const all = new FormData(form);
  const without = all.get("digit") ? [] : ["digit", "w"];
  for (const name of [...all.keys()]) {
    if (without.includes(name) || form.elements[name].closest?.("[hidden]")) all.delete(name);
  }
  return MARK + new URLSearchParams(all);
}

// Sets the form; what the address leaves out is as it is at first. Gives a sentence about what the
// form cannot be set to, or nothing. Whole numbers are looked at when they are used.
export function read(form, address) {
  form.reset();
  for (const [name, value] of new URLSearchParams(address.slice(MARK.length))) {
    const control = NAMES.includes(name) ? form.elements.namedItem(name) : null;
    const before = control?.value;
    if (control?.type === "checkbox") control.checked = value === "on";
    else if (control) control.value = value;
    if (control?.value === value) continue;
    if (control) control.value = before;
    return `The address asks for ${name} = "${value}", which this form does not have.`;
  }
  return null;
}
