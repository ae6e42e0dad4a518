import { beforeAll, expect, it, onTestFinished, vi } from "vitest";
import { seededRandom } from "../support/data/seeded-random.ts";
import { ShadowServer } from "../support/servers/shadow-server.ts";
import { awsEngine, type Engine, embeddedEngine } from "./engine.ts";
import { type ModelFigures, RedriveModel } from "./redrive-model.ts";

// npm run test:model sets MODEL_STEPS; MODEL_SEED repeats a run.
const given = Number(process.env.MODEL_STEPS ?? 0);
const seed = Number(process.env.MODEL_SEED ?? Date.now() % 2 ** 31);
// Fewer steps run on the emulators: each takes several HTTP calls.
const awsShare = 0.01;

beforeAll(() => {
  vi.stubEnv("AWS_ACCESS_KEY_ID", "test");
  vi.stubEnv("AWS_SECRET_ACCESS_KEY", "test");
});

it.each([
  ["the embedded engine", embeddedEngine, given || 3_000, 500],
  ["SQS and DynamoDB", awsEngine, Math.ceil(given * awsShare) || 100, given ? 300 : 60],
])(
  "no order of sends, failures, redrives and crashes loses a request on %s",
  { timeout: 60_000 + given * 10 },
  async (_, open, steps, stepsInARound) => {
    const figures = await runModel(await open(), steps, stepsInARound);

    expect(figures.steps).toBeGreaterThanOrEqual(steps);
    if (steps < 1_000) return;
    expect(figures.redriven).toBeGreaterThan(steps / 200);
    expect(figures.crashes).toBeGreaterThan(steps / 200);
  },
);

async function runModel(engine: Engine, steps: number, stepsInARound: number): Promise<ModelFigures> {
  onTestFinished(() => engine.close());
  const model = new RedriveModel(engine, await ShadowServer.start(), seededRandom(seed));
  try {
    while (model.figures.steps < steps) await model.round(stepsInARound);
  } catch (error) {
    throw new Error(`MODEL_SEED=${seed}, round ${model.figures.rounds}: ${(error as Error).message}`, { cause: error });
  }
  console.info(`seed ${seed}: ${JSON.stringify(model.figures)}`);
  return model.figures;
}
