// @ts-check
/** The panel that certifies a threshold. */

import { messageOf, onSubmit } from "../shared/dom.js";
import { share, short } from "../shared/format.js";
import { say } from "../shared/language.js";

/** @import { Guarantee } from "./payloads.d.ts" */
/** @import { CriticPage } from "./types.d.ts" */
/** @typedef {Guarantee & {threshold: number}} Certificate */

/** @param {CriticPage} page */
export function addCertificate({ find, ask, move, current }) {
  const text = find(".certified");
  const button = find("[data-do='release-certified']");
  /** @type {Certificate | null} */
  let certificate = null;

  onSubmit(find("form.certify", HTMLFormElement), async ({ target, confidence }) => {
    try {
      const { critic } = current();
      const answer = await ask("certify", { run: critic.name, target: Number(target), confidence: Number(confidence) });
      certificate = isCertified(answer) ? answer : null;
      button.hidden = !certificate;
      text.textContent = describe(answer);
      if (certificate) move(certificate.threshold);
    } catch (error) {
      text.textContent = messageOf(error);
    }
  });

  return {
    clear() {
      text.textContent = "";
      button.hidden = true;
    },
    /**
     * Release with the certified threshold.
     * @param {(text: string, certificate: Certificate) => void} release
     */
    release(release) {
      if (!certificate) return;
      const values = { t: certificate.threshold.toFixed(3), critic: current().critic.name, target: certificate.target };
      release(say("Triples scored {t} or higher by {critic}. Certified precision: at least {target}.", values), certificate);
    },
  };
}

/**
 * @param {Guarantee} answer
 * @returns {answer is Certificate}
 */
const isCertified = (answer) => answer.threshold !== null;

/** @param {Guarantee} answer */
function describe(answer) {
  if (isCertified(answer)) {
    return say("Threshold {t} reaches a precision of at least {target} (measured {measured} on {n} calibration triples from {images} images). It keeps {share} of all triples.", {
      t: answer.threshold.toFixed(3), target: answer.target, measured: short(answer.measured_precision),
      n: answer.labelled_triples, images: answer.images, share: share(answer.kept_share),
    });
  }
  if (answer.labels_needed) return say("No threshold can be certified yet; label about {n} more triples.", { n: answer.labels_needed });
  return say("No threshold can be certified, and more labels would not help: improve the critic or lower the minimum precision.");
}
