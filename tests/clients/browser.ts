import { story, type Place } from "./story.js";

Object.assign(globalThis, { story: (place: Place) => story(place) });
