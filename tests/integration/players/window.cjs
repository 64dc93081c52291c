// A window of jsdom in which the players run as in a browser: what jsdom lacks for want of a screen and of
// decoders (layout, images, media) is given here; the players' own code is never touched.
"use strict";
const fs = require("node:fs");
const path = require("node:path");

const BAR = 1e6; // pixels of every element, so that a place on the bar tells a time finely

function open(modules, url) {
  const { JSDOM, VirtualConsole } = require(path.join(modules, "jsdom"));
  const dom = new JSDOM("<!doctype html><body></body>", {
    url,
    pretendToBeVisual: true,
    runScripts: "outside-only",
    virtualConsole: new VirtualConsole(),
  });
  const { window } = dom;
  for (const side of ["offsetWidth", "clientWidth"])
    Object.defineProperty(window.HTMLElement.prototype, side, { get: () => BAR, configurable: true });
  Object.defineProperty(window.HTMLElement.prototype, "offsetParent", {
    get() {
      return this.parentElement;
    },
    configurable: true,
  });
  window.HTMLElement.prototype.getBoundingClientRect = () => ({
    left: 0, top: 0, right: BAR, bottom: 100, width: BAR, height: 100, x: 0, y: 0,
  });
  // Images "load" at once.
  const source = Object.getOwnPropertyDescriptor(window.HTMLImageElement.prototype, "src");
  Object.defineProperty(window.HTMLImageElement.prototype, "src", {
    get: source.get,
    set(value) {
      source.set.call(this, value);
      window.setTimeout(() => this.dispatchEvent(new window.Event("load")));
    },
  });
  // Media has the duration it is given and plays nothing.
  const media = window.HTMLMediaElement.prototype;
  media.load = function () {};
  media.pause = function () {};
  media.play = async function () {};
  media.canPlayType = () => "maybe";
  Object.defineProperty(media, "duration", { get: () => window.videoDuration, configurable: true });
  Object.defineProperty(media, "readyState", { get: () => 4, configurable: true });
  const nothing = class {
    observe() {}
    unobserve() {}
    disconnect() {}
  };
  window.ResizeObserver = window.IntersectionObserver = nothing;
  window.matchMedia = () => ({ matches: false, addEventListener() {}, removeEventListener() {}, addListener() {} });
  window.CSS = { supports: () => false };
  window.fetch = (address, options) => fetch(new URL(address, window.location.href), options);
  window.TextTrack = class {};
  window.URL.createObjectURL = () => "blob:nothing";
  window.URL.revokeObjectURL = () => {};
  window.TextDecoder = TextDecoder;
  window.TextEncoder = TextEncoder;
  window.Promise = Promise;
  window.Uint8Array = Uint8Array;
  window.ArrayBuffer = ArrayBuffer;
  window.console = { ...console, log() {}, info() {}, debug() {}, warn() {} };
  const run = (file) => window.eval(fs.readFileSync(path.join(modules, file), "utf8"));
  return { window, run, close: () => window.close() };
}

module.exports = { open, BAR };
