// Reads cases from standard input, lets each player look up each time, and prints what it would show:
// {case: {player: [[url, x, y] | null, ...]}}.   node play.cjs <node_modules>
"use strict";
const http = require("node:http");
const path = require("node:path");
const { pathToFileURL } = require("node:url");
const { open, BAR } = require("./window.cjs");

const modules = path.resolve(process.argv[2]);
const need = (name) => require(path.join(modules, name));
const settle = (turns = 5) => new Promise((resolve) => setTimeout(resolve, turns));

async function until(condition, what) {
  for (let tries = 0; tries < 1000; tries++) {
    const value = await condition();
    if (value) return value;
    await settle();
  }
  throw new Error(`${what} did not come`);
}

// What a style shows: the picture, and where on it.
function shown(style) {
  const url = /url\((["']?)(.*?)\1\)/.exec(style.backgroundImage);
  const place = /^(-?[\d.]+)px (-?[\d.]+)px$/.exec(style.backgroundPosition.replace(/--/g, ""));
  return url && place && [url[2], Math.abs(place[1]), Math.abs(place[2])];
}

const xywh = (text, base) => {
  const [url, place] = text.split("#xywh=");
  const [x, y] = place.split(",").map(Number);
  return [new URL(url, base).href, x, y];
};
const cue = (cues, time, base) => {
  const found = cues.find((each) => each.startTime <= time && time < each.endTime);
  return found ? xywh(found.text, base) : null;
};

const PLAYERS = {
  async "media-captions"(one) {
    const { parseText } = await import(pathToFileURL(path.join(modules, "media-captions/dist/prod.js")));
    const { cues, errors } = await parseText(one.files["thumbnails.vtt"], { type: "vtt", strict: true });
    if (errors.length) throw errors[0];
    return one.times.map((time) => cue(cues, time, one.base + "thumbnails.vtt"));
  },

  async "videojs-vtt.js"(one, { window }) {
    const WebVTT = need("videojs-vtt.js/lib/vtt.js");
    const VTTCue = need("videojs-vtt.js/lib/vttcue.js");
    window.VTTCue = VTTCue;
    const parser = new WebVTT.Parser(window, { VTTCue }, WebVTT.StringDecoder());
    const cues = [];
    parser.oncue = (each) => cues.push(each);
    parser.onparsingerror = (error) => {
      throw error;
    };
    parser.parse(one.files["thumbnails.vtt"]);
    parser.flush();
    return one.times.map((time) => cue(cues, time, one.base + "thumbnails.vtt"));
  },

  "vidstack (storyboard)": (one) => vidstack(one, "storyboard.json"),
  "vidstack (VTT)": (one) => vidstack(one, "thumbnails.vtt"),

  async Plyr(one, { window, run }) {
    run("plyr/dist/plyr.js");
    const video = window.document.body.appendChild(window.document.createElement("video"));
    const options = { previewThumbnails: { enabled: true, src: one.base + "thumbnails.vtt" }, loadSprite: false };
    const plyr = new window.Plyr(video, window.JSON.parse(JSON.stringify(options)));
    const preview = await until(() => plyr.previewThumbnails?.loaded && plyr.previewThumbnails, "Plyr's index");
    return one.times.map((time) => {
      preview.seekTime = time;
      preview.showingThumb = null;
      preview.showImageAtCurrentTime();
      const { frames, urlPrefix } = preview.thumbnails[0];
      const frame = frames[preview.showingThumb];
      return frame ? [new URL(urlPrefix + frame.text).href, Number(frame.x), Number(frame.y)] : null;
    });
  },

  async "videojs-vtt-thumbnails"(one, { window, run }) {
    run("video.js/dist/video.js");
    run("videojs-vtt-thumbnails/dist/videojs-vtt-thumbnails.js");
    const player = videojs(window);
    player.vttThumbnails({ src: one.base + "thumbnails.vtt" });
    const plugin = await until(() => player.vttThumbnails.vttData && player.vttThumbnails, "the plugin's index");
    return one.times.map((time) => {
      const css = plugin.getStyleForTime(time);
      const place = css && /url\("(.*)"\) no-repeat -(\d+)px -(\d+)px/.exec(css.background);
      return place && [place[1], Number(place[2]), Number(place[3])];
    });
  },

  async "videojs-sprite-thumbnails"(one, { window, run }) {
    run("video.js/dist/video.js");
    run("videojs-sprite-thumbnails/dist/videojs-sprite-thumbnails.js");
    const player = videojs(window);
    player.duration = () => one.duration;
    window.player = player;
    window.eval(one.snippets["videojs-sprite-thumbnails"]);
    await new Promise((resolve) => player.ready(resolve));
    player.trigger("loadedmetadata");
    await until(() => player.spriteThumbnails().state.ready, "the plugin's state");
    const bar = player.getDescendant("ControlBar", "ProgressControl", "SeekBar").el();
    const tip = player.getDescendant("ControlBar", "ProgressControl", "SeekBar", "MouseTimeDisplay", "TimeTooltip");
    return one.times.map((time) => {
      hover(window, bar, time / one.duration);
      return shown(tip.el().style);
    });
  },

  async ArtPlayer(one, { window, run }) {
    const art = artplayer(window, run);
    window.art = art;
    window.eval(one.snippets.ArtPlayer);
    return artplayerShows(one, art, art.controls["sprite-thumbnails"]);
  },

  async "artplayer-plugin-vtt-thumbnail"(one, { window, run }) {
    run("artplayer-plugin-vtt-thumbnail/dist/artplayer-plugin-vtt-thumbnail.js");
    const art = artplayer(window, run);
    art.plugins.add(window.artplayerPluginVttThumbnail({ vtt: one.base + "thumbnails.vtt" }));
    const box = await until(() => art.controls["vtt-thumbnail"], "the plugin's index");
    return artplayerShows(one, art, box);
  },

  async DPlayer(one, { window, run }) {
    run("dplayer/dist/DPlayer.min.js");
    const container = window.document.body.appendChild(window.document.createElement("div"));
    window.dp = new window.DPlayer({ container, video: { url: "video.mp4", type: "normal" } });
    window.eval(one.snippets.DPlayer);
    const { playedBarWrap, barPreview } = window.dp.template;
    return one.times.map((time) => {
      hover(window, playedBarWrap, time / one.duration);
      return shown(barPreview.style);
    });
  },

  async xgplayer(one, { window, run }) {
    run("xgplayer/dist/index.min.js");
    const el = window.document.body.appendChild(window.document.createElement("div"));
    const options = window.eval(`({${one.snippets.xgplayer}})`);
    const player = new window.Player({ el, url: "video.mp4", ...options });
    const plugin = await until(() => player.getPlugin("thumbnail"), "the plugin");
    player.media.dispatchEvent(new window.Event("durationchange"));
    await until(() => player.duration, "the duration");
    const box = window.document.createElement("div");
    return one.times.map((time) => {
      plugin.update(box, time);
      return shown(box.style);
    });
  },

  async "Shaka (VTT)"(one, { window, run }) {
    const player = shaka(window, run);
    player.loadMode_ = window.shaka.Player.LoadMode.SRC_EQUALS;
    player.video_ = window.document.createElement("video");
    player.seekRange = () => ({ start: 0, end: one.duration });
    await player.addThumbnailsTrack(one.base + "thumbnails.vtt", "text/vtt");
    return shakaShows(one, player);
  },

  async "Shaka (HLS)"(one, { window, run }) {
    const player = shaka(window, run);
    return shakaShows(one, await shakaLoads(window, player, new window.shaka.hls.HlsParser(), one.base + "master.m3u8"));
  },

  async "Shaka (DASH)"(one, { window, run }) {
    const player = shaka(window, run);
    return shakaShows(one, await shakaLoads(window, player, new window.shaka.dash.DashParser(), one.base + "video.mpd"));
  },

  async "dash.js"(one, { window, run }) {
    const buffers = () => ({ buffered: { length: 0 }, addEventListener() {}, removeEventListener() {}, abort() {}, remove() {}, appendBuffer() {} });
    window.MediaSource = class extends window.EventTarget {
      static isTypeSupported = () => true;
      readyState = "open";
      duration = NaN;
      sourceBuffers = [];
      addSourceBuffer = buffers;
      removeSourceBuffer() {}
      endOfStream() {}
      setLiveSeekableRange() {}
    };
    window.URL.createObjectURL = (source) => {
      window.setTimeout(() => source.dispatchEvent(new window.Event("sourceopen")));
      return "blob:nothing";
    };
    run("dashjs/dist/modern/umd/dash.all.min.js");
    const player = window.dashjs.MediaPlayer().create();
    const video = window.document.body.appendChild(window.document.createElement("video"));
    player.updateSettings({ debug: { logLevel: 0 } });
    player.initialize(video, one.base + "video.mpd", false);
    const ask = (time) => new Promise((resolve) => player.provideThumbnail(time, resolve));
    await until(async () => player.isReady() && player.getActiveStream()?.getThumbnailController() && (await ask(0)), "dash.js");
    const places = [];
    for (const time of one.times) {
      const found = await ask(time);
      places.push(found && [found.url, found.x, found.y]);
    }
    player.destroy();
    return places;
  },
};

// Vidstack is a module, which finds its window among the globals: one room is kept for it.
let room;
async function vidstack(one, file) {
  if (!room) {
    room = open(modules, one.base + "index.html");
    const names = [
      ...Object.getOwnPropertyNames(room.window).filter((name) => !(name in globalThis)),
      ..."window document navigator location Event EventTarget CustomEvent KeyboardEvent MouseEvent".split(" "),
      ..."Node Element HTMLElement HTMLMediaElement HTMLVideoElement HTMLImageElement Image".split(" "),
      ..."DocumentFragment Document ShadowRoot Text Comment MutationObserver AbortController AbortSignal".split(" "),
    ];
    for (const name of names)
      Object.defineProperty(globalThis, name, { value: room.window[name], configurable: true, writable: true });
  }
  room.window.videoDuration = one.duration;
  const elements = await import(pathToFileURL(path.join(modules, "vidstack/prod/vidstack-elements.js")));
  elements.defineCustomElement(elements.MediaPlayerElement);
  elements.defineCustomElement(elements.MediaThumbnailElement);
  const { document } = room.window;
  const player = new elements.MediaPlayerElement();
  player.load = "eager";
  const thumbnail = player.appendChild(new elements.MediaThumbnailElement());
  thumbnail.src = one.base + file;
  document.body.append(player);
  player.startLoading();
  const active = () => thumbnail.$state.activeThumbnail();
  await until(() => thumbnail.$state && active(), "vidstack's thumbnails");
  const places = [];
  for (const time of one.times) {
    thumbnail.time = time;
    await settle(0);
    const found = active();
    places.push(found && [String(found.url), found.coords.x, found.coords.y]);
  }
  player.remove();
  return places;
}

function videojs(window) {
  const video = window.document.body.appendChild(window.document.createElement("video"));
  return window.videojs(video, { controls: true, techOrder: ["html5"] });
}

function artplayer(window, run) {
  run("artplayer/dist/artplayer.js");
  const container = window.document.body.appendChild(window.document.createElement("div"));
  return new window.Artplayer({ container, url: "video.mp4" });
}

async function artplayerShows(one, art, box) {
  const event = new art.template.$progress.ownerDocument.defaultView.MouseEvent("mousemove");
  return one.times.map((time) => {
    box.style.backgroundImage = "";
    art.emit("setBar", "hover", time / one.duration, event);
    return shown(box.style);
  });
}

function hover(window, element, part) {
  const event = new window.MouseEvent("mousemove", { bubbles: true, clientX: part * BAR });
  Object.defineProperty(event, "offsetX", { value: part * BAR, enumerable: true });
  element.dispatchEvent(event);
}

function shaka(window, run) {
  run("shaka-player/dist/shaka-player.compiled.debug.js");
  window.shaka.polyfill.installAll();
  return new window.shaka.Player();
}

// The real parser, and the real lookup on what it made; only the decoders between them are left out.
async function shakaLoads(window, player, parser, uri) {
  parser.configure(player.getConfiguration().manifest, () => true);
  const ignored = () => {};
  player.manifest_ = await parser.start(uri, {
    networkingEngine: player.getNetworkingEngine(),
    filter: async () => {},
    makeTextStreamsForClosedCaptions: ignored,
    onTimelineRegionAdded: ignored,
    onEvent: ignored,
    onError: (error) => {
      throw error;
    },
    isLowLatencyMode: () => false,
    updateDuration: ignored,
    newDrmInfo: ignored,
    onManifestUpdated: ignored,
    getBandwidthEstimate: () => 1e6,
    onMetadata: ignored,
    disableStream: ignored,
    addFont: ignored,
    getConfiguration: () => player.getConfiguration(),
  });
  player.loadMode_ = window.shaka.Player.LoadMode.MEDIA_SOURCE;
  return player;
}

async function shakaShows(one, player) {
  const places = [];
  for (const time of one.times) {
    const found = await player.getThumbnails(null, time);
    places.push(found && [found.uris[0], found.positionX, found.positionY]);
  }
  return places;
}

async function main() {
  const chunks = [];
  for await (const chunk of process.stdin) chunks.push(chunk);
  const cases = JSON.parse(Buffer.concat(chunks));
  const server = http.createServer((request, response) => {
    const [, number, file] = request.url.split("/");
    const text = cases[number]?.files[file];
    const type = file?.endsWith(".json") ? "application/json" : "text/plain";
    response.writeHead(text === undefined ? 404 : 200, { "content-type": type, "access-control-allow-origin": "*" });
    response.end(text);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const origin = `http://127.0.0.1:${server.address().port}`;
  process.on("unhandledRejection", (error) => process.stderr.write(`${error?.stack}\n`));
  const answers = [];
  for (const [number, one] of cases.entries()) {
    one.base = `${origin}/${number}/`;
    for (const texts of [one.files, one.snippets])
      for (const name of Object.keys(texts)) texts[name] = texts[name].replaceAll("BASE/", one.base);
    const answer = {};
    for (const name of one.players ?? Object.keys(PLAYERS)) {
      const place = open(modules, one.base + "index.html");
      place.window.videoDuration = one.duration;
      try {
        const places = await PLAYERS[name](one, place);
        answer[name] = places.map((place) => place && [new URL(place[0], one.base).href.replace(one.base, "").replace(/#.*/, ""), place[1], place[2]]);
      } catch (error) {
        answer[name] = String(error?.stack ?? JSON.stringify(error));
      }
      place.close();
    }
    answers.push(answer);
  }
  process.stdout.write(JSON.stringify(answers), () => process.exit());
}

main();
