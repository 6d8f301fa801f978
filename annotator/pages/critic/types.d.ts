/** What the parts of the critic page share. */

import type { TriplePayload } from "../shared/payloads.d.ts";
import type { Find } from "../shared/dom.js";
import type {
  Comparison, CriticSummary, CurveData, Guarantee, LabelingBatch, LabelingOptions, Overview, ReleaseComparison,
  RetrainingStatus, ScoredTriple, Slice, TrainingState,
} from "./payloads.d.ts";

export type NearTriple = TriplePayload & ScoredTriple;

/** The results of the server functions of page.py. */
export interface Results {
  overview: Overview;
  curve: CurveData;
  triples: NearTriple[];
  slices: Slice[];
  compare: Comparison;
  simulate: { votes: number };
  train: TrainingState;
  training_state: TrainingState;
  retrain: RetrainingStatus | { every: 0; error?: undefined };
  labeling_options: LabelingOptions;
  create_batch: LabelingBatch;
  certify: Guarantee;
  release: { name: string; kept: number };
  compare_releases: ReleaseComparison;
  card: { text: string };
}

export interface CriticPage {
  root: HTMLElement;
  find: Find;
  /** Calls a server function; throws its user errors. */
  ask: <K extends keyof Results>(name: K, body?: object) => Promise<Results[K]>;
  /** Loads everything again and shows the named critic. */
  load: (name?: string) => Promise<void>;
  /** Moves the threshold. */
  move: (threshold: number) => void;
  /** The critic and the threshold that are shown. */
  current: () => { critic: CriticSummary; threshold: number };
  showMessage: (text: string) => void;
  showError: (error: unknown) => void;
  /** Disables a button, and shows another text on it, until work is done. */
  busy: (button: HTMLButtonElement, text: string, work: () => Promise<void>) => Promise<void>;
}
