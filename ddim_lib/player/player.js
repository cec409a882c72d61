/* A player of pictures that were computed beforehand: slider, play and pause, values, curves.
   A custom element needs no identifiers and no library, wherever its HTML is put. */
(() => {
  if (customElements.get("ddim-player")) return;
  const calm = matchMedia("(prefers-reduced-motion: reduce)");

  class Player extends HTMLElement {
    connectedCallback() {
      // Met by the parser, the element is there before what it holds.
      if (this.querySelector("script")) this.start();
      else document.addEventListener("DOMContentLoaded", () => this.start(), { once: true });
    }

    disconnectedCallback() {
      this.pause();
    }

    start() {
      if (this.data) return;
      this.data = JSON.parse(this.querySelector("script").textContent);
      this.slider = this.querySelector("input");
      this.button = this.querySelector("button");
      this.slider.disabled = this.button.disabled = false;
      this.slider.addEventListener("input", () => {
        this.pause();
        this.show();
      });
      this.button.addEventListener("click", () => (this.timer ? this.pause() : this.play()));
      this.show();
    }

    get last() {
      return Number(this.slider.max);
    }

    show() {
      const i = Number(this.slider.value);
      const { frames, plain, shown, marks } = this.data;
      this.querySelectorAll("img").forEach((image, k) => (image.src = frames[k][i]));
      this.querySelector("output").innerHTML = shown[i];
      this.slider.setAttribute("aria-valuetext", plain[i]);
      this.querySelectorAll("circle").forEach((mark, k) => {
        mark.setAttribute("cx", marks[k][i][0]);
        mark.setAttribute("cy", marks[k][i][1]);
      });
    }

    play() {
      if (Number(this.slider.value) === this.last) this.slider.value = 0;
      this.show();
      this.say("Pause");
      const wait = calm.matches ? Math.max(1000, this.data.wait) : this.data.wait;
      this.timer = setInterval(() => {
        this.slider.value = Number(this.slider.value) + 1;
        this.show();
        if (Number(this.slider.value) === this.last) this.pause();
      }, wait);
    }

    pause() {
      clearInterval(this.timer);
      this.timer = null;
      if (this.button) this.say("Play");
    }

    say(word) {
      this.button.textContent = word;
    }
  }
  customElements.define("ddim-player", Player);
})();
