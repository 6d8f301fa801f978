// @ts-check
/** The conversation with a student about the selected regions; answers arrive word by word. */

import { write } from "../../canvas/chips.js";
import { stream } from "../shared/api.js";
import { make, messageOf } from "../shared/dom.js";
import { share } from "../shared/format.js";
import { say } from "../shared/language.js";

/** @import { Canvas } from "../../canvas/canvas.js" */
/** @import { Find } from "../shared/dom.js" */
/** @import { LabelledRegion, Source } from "./demo.js" */
/** @import { Answer } from "./payloads.d.ts" */
/** @typedef {{student: string, source: Source | undefined, regions: LabelledRegion[]}} Subject */

const CANNOT = "I can't tell.";
const MAX_TURNS = 8;

/**
 * @param {Find} find
 * @param {Canvas} canvas
 * @param {() => Subject} subject whom to ask about what
 */
export function addConversation(find, canvas, subject) {
  const talk = find(".talk");
  /** @type {[question: string, answer: string][]} */
  let turns = [];
  let busy = false;

  /**
   * Ask a question; an empty one makes the student ask and answer its own.
   * @param {string} question
   */
  async function ask(question) {
    if (busy) return;
    busy = true;
    const { student, source, regions } = subject();
    const known = new Set(regions.map((region) => region.number));
    /**
     * @param {string} text
     * @param {string} kind
     */
    const words = (text, kind = "") => {
      const element = make("p", { className: `words ${kind}` });
      write(element, text, known, canvas);
      return element;
    };
    const asked = make("div", { className: "asked" }, question ? words(question) : small(say("Thinking of a question…")));
    const reply = make("div", {}, small(say("Thinking…")));
    talk.append(asked, reply);
    reply.scrollIntoView({ block: "nearest" });
    try {
      const request = { student, question, turns, regions: regions.map(({ number, box, polygons }) => ({ number, box, polygons })), ...source };
      const answer = await receive(request, (text) => reply.replaceChildren(words(text)));
      asked.replaceChildren(words(answer.question));
      reply.replaceChildren(words(answer.answer || "…"));
      if (answer.rationale) {
        const rationale = words(answer.rationale, "rationale");
        const label = answer.answer === CANNOT ? say("Not confident enough. It would have answered:") : say("Rationale:");
        rationale.prepend(make("b", { textContent: `${label} ` }));
        reply.append(rationale);
      }
      reply.append(small(`${answer.seconds.toFixed(1)} s${confidence(answer)} · ${student}`));
      turns = [...turns, /** @type {[string, string]} */ ([answer.question, answer.answer])].slice(-MAX_TURNS);
    } catch (error) {
      reply.replaceChildren(make("p", { className: "words alarm", textContent: messageOf(error) }));
    } finally {
      busy = false;
    }
    reply.scrollIntoView({ block: "nearest" });
  }

  return {
    ask,
    /** Forgets earlier turns. */
    clear() {
      turns = [];
      talk.replaceChildren();
    },
  };
}

/**
 * The answer, of which `onText` receives the text so far.
 * @param {object} request
 * @param {(text: string) => void} onText
 * @returns {Promise<Answer>}
 */
async function receive(request, onText) {
  for await (const event of stream("/api/ask", { ...request, stream: true })) {
    if (event.error) throw new Error(event.error);
    if (event.answer) return event.answer;
    onText(event.text);
  }
  throw new Error(say("The connection was lost before the answer was complete."));
}

/** @param {Answer} answer */
function confidence({ confidence: value }) {
  return value === null ? "" : ` · ${say("{share} confident", { share: share(value) })}`;
}

/** @param {string} text */
const small = (text) => make("small", { textContent: text });
