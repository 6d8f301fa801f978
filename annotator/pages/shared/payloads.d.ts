// Written by tests/javascript/payload_types.py from the Python types: do not edit.

/** A person with the number of their standing votes and the time of the last one. */
export interface AccountRow {
  id: number;
  name: string;
  role: "annotator" | "researcher" | "admin";
  active: boolean;
  signs_in: boolean;
  simulated: boolean;
  votes: number;
  last_vote: number | null;
}

/** The names of those who voted on the triple, by vote id. */
export interface AdjudicationOut {
  names: Record<string, string>;
}

/** A coefficient with its 95 % interval. */
export interface AgreementRow {
  name: string;
  value: number;
  low: number;
  high: number;
}

/** One person's votes. Shares are 0 to 1, None where they are undefined. */
export interface AnnotatorRow {
  id: number;
  name: string;
  simulated: boolean;
  votes: number;
  skips: number;
  acceptance: number | null;
  with_majority: number | null;
  gold: number | null;
  gold_judged: number;
  gold_interval: [number, number];
  pace_ms: number | null;
  too_fast: number | null;
  paused: string | null;
}

/** A vote without the name of the person. */
export interface AnonymousVote {
  id: number;
  decision: "accept" | "reject" | "skip";
  reasons: ("wrong_region" | "not_in_image" | "wrong_answer" | "unsupported" | "trivial" | "harmful")[];
  duration_ms: number | null;
}

/** Triples of a batch: in total, judged by the person (`mine`), left for the person to judge. */
export interface BatchProgress {
  name: string;
  votes_required: number;
  total: number;
  mine: number;
  left: number;
  open: boolean;
}

/** A batch with its settings, triples, required votes in total, and votes. */
export interface BatchRow {
  name: string;
  open: boolean;
  ordering: "random" | "uncertain" | "disagreed" | "information";
  random_share: number;
  gold_rate: number;
  qualification_items: number;
  min_gold_accuracy: number;
  fast_ms: number;
  votes_each: number;
  triples: number;
  votes_required: number;
  votes: number;
  price: number | null;
  price_unit: "vote" | "hour";
}

/** What a worker gets after the quota: a code, and the URL to return to. */
export interface Completion {
  code: string;
  url: string;
}

/** How often a person accepts what should be accepted, and rejects what should be rejected. */
export interface ConfusionRow {
  id: number;
  name: string;
  against: "gold" | "adjudication";
  accuracy: Rate;
  accepts: Rate;
  rejects: Rate;
}

/** Totals over the batches with a price; None if there is none. */
export interface Cost {
  so_far: number | null;
  to_come: number | null;
  unpriced_batches: number;
  batches: CostRow[];
}

/** The cost of a batch; None where it is unknown. */
export interface CostRow {
  batch: string;
  price: number | null;
  price_unit: "vote" | "hour";
  votes: number;
  hours: number;
  missing_votes: number;
  so_far: number | null;
  to_come: number | null;
}

/** Krippendorff's alpha of a day, which starts at `day` (Unix time in milliseconds). */
export interface DayRow {
  day: number;
  alpha: number;
}

/** The points of a person, each `BLOCK_VOTES` votes, or of everybody, each a week. */
export interface Drift {
  id: number | null;
  name: string;
  points: DriftPoint[];
}

/** Accuracy on known answers and agreement with the others in a stretch of votes. */
export interface DriftPoint {
  start: number;
  votes: number;
  accuracy: Rate;
  agreement: Rate;
}

/** What was changed about a batch. */
export interface Extension {
  batch: string;
  votes_each: number;
  new_triples: number;
  triples_with_more_votes: number;
  adjudicated_triples: number;
}

/** A version of the guidelines as Markdown and as safe HTML; id None: the built-in text. */
export interface Guidelines {
  id: number | null;
  text: string;
  html: string;
}

/** A standing vote with its triple, and whether it can still be changed. */
export interface HistoryRow {
  id: number;
  key: string;
  decision: "accept" | "reject" | "skip";
  reasons: ("wrong_region" | "not_in_image" | "wrong_answer" | "unsupported" | "trivial" | "harmful")[];
  created: number;
  can_change: boolean;
  item: TriplePayload;
}

/** Votes in an hour, which starts at `hour` (Unix time in milliseconds). */
export interface HourRow {
  hour: number;
  votes: number;
}

/** An image's size in pixels, where it comes from, and the URL that the web app serves it at. */
export interface ImageRecord {
  id: number;
  width: number;
  height: number;
  title: string;
  author: string;
  licence: string;
  origin: string;
  url: string;
}

/** The path of an invitation's link; it is not shown again. */
export interface InvitationOut {
  path: string;
}

/** An invitation, who made it, and who used it. */
export interface InvitationRow {
  id: number;
  role: "annotator" | "researcher" | "admin";
  note: string;
  by: string;
  used_by: string | null;
  expires: number;
}

/** A triple as an item of the batch named `batch`. */
export interface ItemPayload {
  triple: number;
  image: ImageRecord;
  regions: RegionRecord[];
  question: string;
  answer: string;
  rationale: string;
  mentioned: number[];
  batch: string;
  note: string;
}

/** The signed-in person. `batch` is the only one that a crowd worker may label. */
export interface MeOut {
  name: string;
  role: "annotator" | "researcher" | "admin";
  batch: string | null;
  preferences: Preferences;
  languages: Record<string, string>;
}

/** Items to judge, why the person is paused if they are, and feedback on a training item. */
export interface NextItems {
  items: ItemPayload[];
  paused: string | null;
  feedback: TrainingFeedback | null;
}

/** Items to judge and the progress of their batch. */
export interface NextOut {
  batch: BatchProgress;
  items: ItemPayload[];
  paused: string | null;
  quota: number | null;
  finish: Completion | null;
}

/** A pause that has not been lifted, with the names of its person and batch. */
export interface PauseRow {
  id: number;
  person: string;
  batch: string;
  reason: string;
  created: number;
}

/** A triple to adjudicate, with its votes and the notes of its open flags. */
export interface PendingTriple {
  triple: number;
  image: ImageRecord;
  regions: RegionRecord[];
  question: string;
  answer: string;
  rationale: string;
  mentioned: number[];
  votes: AnonymousVote[];
  flags: string[];
}

/** The first triples to adjudicate, and how many there are in total (`waiting`). */
export interface PendingTriples {
  waiting: number;
  triples: PendingTriple[];
}

/** Accounts, invitations and studies; `platforms` names the URL parameters of each platform. */
export interface PeopleOut {
  people: AccountRow[];
  invitations: InvitationRow[];
  studies: StudyRow[];
  platforms: Record<string, [string, string, string]>;
}

/** The language (None: the browser's) and the key of each action. */
export interface Preferences {
  language: string | null;
  keys: Record<string, string>;
}

/** Project statistics with all batches and all current pauses. */
export interface ProjectOut {
  votes: number;
  skips: number;
  votes_required: number;
  acceptance: number | null;
  per_hour: HourRow[];
  reasons: Record<"wrong_region" | "not_in_image" | "wrong_answer" | "unsupported" | "trivial" | "harmful", number>;
  agreement: AgreementRow[];
  agreement_over_time: DayRow[];
  annotators: AnnotatorRow[];
  flags: number;
  left: Remaining;
  confusion: ConfusionRow[];
  drift: Drift[];
  cost: Cost;
  batches: BatchRow[];
  pauses: PauseRow[];
}

/** A share `correct` / `judged` with Wilson's 95 % interval; None if nothing was judged. */
export interface Rate {
  correct: number;
  judged: number;
  value: number | null;
  low: number;
  high: number;
}

export type Reason = "wrong_region" | "not_in_image" | "wrong_answer" | "unsupported" | "trivial" | "harmful";

/** A region as JSON, in pixels of the image; see `regions.geometry.Region`. */
export interface RegionRecord {
  number: number;
  box: [number, number, number, number];
  polygons: [number, number][][];
  label: string;
}

/** Votes that open batches still require, the median time per vote, and the hours they take. */
export interface Remaining {
  votes: number;
  pace_ms: number | null;
  hours: number | null;
}

/** The path of a link to choose a new password; it is not shown again. */
export interface ResetOut {
  path: string;
}

/** How many votes were sent back, and how many were not, by reason. */
export interface ReturnResult {
  returned_votes: number;
  left_out: Record<string, number>;
}

/** A study with how many workers came and how many finished. */
export interface StudyRow {
  id: number;
  name: string;
  quota: number;
  max_workers: number | null;
  signed: boolean;
  link: string;
  code: string;
  finish_url: string;
  open: boolean;
  batch: string;
  came: number;
  finished: number;
}

/** A new API token; it is not shown again. */
export interface TokenOut {
  token: string;
}

/** An API token without its secret. */
export interface TokenRow {
  id: number;
  name: string;
  created: number;
  expires: number;
}

/** Whether a judgement of a training item was right, the correct decision, and why. */
export interface TrainingFeedback {
  right: boolean;
  decision: "accept" | "reject" | "skip";
  note: string;
}

/** A triple as JSON; `mentioned` are the region numbers in its texts. */
export interface TriplePayload {
  triple: number;
  image: ImageRecord;
  regions: RegionRecord[];
  question: string;
  answer: string;
  rationale: string;
  mentioned: number[];
}

/** The item of the withdrawn vote, which is leased again. */
export interface UndoOut {
  item: ItemPayload;
}

/** A worker's session of a study. Shares are 0 to 1, None where they are undefined. */
export interface WorkerRow {
  worker: string;
  platform_study: string;
  platform_session: string;
  joined: number;
  finished: number | null;
  minutes: number;
  votes: number;
  skips: number;
  gold: number | null;
  gold_correct: number;
  gold_judged: number;
  gold_interval: [number, number];
  too_fast: number | null;
  pace_ms: number | null;
  paused: string | null;
  bound: boolean;
}
