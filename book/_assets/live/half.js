// The upper half of a digit as text: its grey levels, row after row, in base64url.

export const WIDE = 28;
export const HIGH = 14;

export function write(greys) {
  return btoa(String.fromCharCode(...greys)).replaceAll("+", "-").replaceAll("/", "_");
}

// The grey levels, 0 to 255; an error where the text is no half.
export function read(text) {
  const plain = text.replaceAll("-", "+").replaceAll("_", "/");
  const greys = /^[A-Za-z0-9+/]*={0,2}$/.test(plain) && plain.length % 4 === 0
    ? Uint8Array.from(atob(plain), (c) => c.charCodeAt(0))
    : [];
  if (greys.length !== WIDE * HIGH) {
    throw new Error(`the drawn half must have ${WIDE} times ${HIGH} grey levels`);
  }
  return greys;
}
