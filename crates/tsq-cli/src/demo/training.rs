//! Training runs: three at a time with different learning rates, each replaced when it is done. The boldest diverges.

use super::instruments::{Float, Instruments, Metric};
use super::random::Random;
use crate::failure::Result;
use crate::units::civil;

/// How runs differ.
struct Recipe {
    learning_rate: f64,
    name: &'static str,
    /// The loss it cannot get below.
    floor: f64,
    /// The step at which it begins to diverge.
    diverges: Option<f64>,
}

const RECIPES: [Recipe; 3] = [
    Recipe { learning_rate: 3e-4, name: "lr3e-4", floor: 1.72, diverges: None },
    Recipe { learning_rate: 1e-3, name: "lr1e-3", floor: 1.58, diverges: None },
    Recipe { learning_rate: 6e-3, name: "lr6e-3", floor: 1.65, diverges: Some(3_000.0) },
];

const STEPS_PER_S: f64 = 1.6;
const STEPS: f64 = 12_000.0;
const WARMUP: f64 = 400.0;
const TOKENS_PER_STEP: f64 = 524_288.0;
/// Steps between two evaluations.
const EVALUATE: f64 = 250.0;

const fn gauge(name: &'static str, help: &'static str) -> Metric {
    Metric { name, metric_type: "gauge", unit: "", help }
}

const LOSS: Metric = gauge("train_loss", "Training loss of the newest step");
const RATE: Metric = gauge("train_learning_rate", "Learning rate of the newest step");
const NORM: Metric = gauge("train_grad_norm", "Norm of the gradient before clipping");
const STEP: Metric = gauge("train_step", "Newest step");
const ACCURACY: Metric = gauge("eval_accuracy", "Accuracy on held-out data, 0 to 1");
const TOKENS: Metric =
    Metric { name: "train_tokens_total", metric_type: "counter", unit: "", help: "Tokens trained on" };

#[derive(Debug)]
struct Run {
    recipe: usize,
    step: f64,
    evaluated: f64,
    gauges: [Float; 4],
    accuracy: Float,
    tokens: Float,
}

/// The runs of now.
#[derive(Debug)]
pub(super) struct Training {
    runs: Vec<Run>,
    random: Random,
}

impl Training {
    pub(super) fn new(instruments: &mut Instruments, random: Random, start_ms: i64) -> Result<Self> {
        let runs = (0..RECIPES.len()).map(|recipe| Run::new(instruments, recipe, start_ms)).collect::<Result<_>>()?;
        Ok(Self { runs, random })
    }

    /// Lets `seconds` pass.
    pub(super) fn advance(&mut self, time_ms: i64, seconds: f64, instruments: &mut Instruments) -> Result<()> {
        for run in &mut self.runs {
            if run.step >= STEPS {
                run.end(instruments);
                *run = Run::new(instruments, run.recipe, time_ms)?;
            }
            run.advance(seconds, &mut self.random, instruments);
        }
        Ok(())
    }
}

impl Run {
    fn new(instruments: &mut Instruments, recipe: usize, start_ms: i64) -> Result<Self> {
        let start = civil(start_ms);
        let name = format!("{}-{:02}{:02}{:02}", RECIPES[recipe].name, start.day, start.hour, start.minute);
        let labels: &[(&str, &str)] = &[("run", &name), ("model", "lm-350m")];
        Ok(Self {
            recipe,
            step: 0.0,
            evaluated: 0.0,
            gauges: [
                instruments.gauge(&LOSS, labels)?,
                instruments.gauge(&RATE, labels)?,
                instruments.gauge(&NORM, labels)?,
                instruments.gauge(&STEP, labels)?,
            ],
            accuracy: instruments.gauge(&ACCURACY, labels)?,
            tokens: instruments.counter(&TOKENS, labels)?,
        })
    }

    fn end(&self, instruments: &mut Instruments) {
        for gauge in self.gauges.iter().chain([&self.accuracy, &self.tokens]) {
            instruments.end(*gauge);
        }
    }

    fn advance(&mut self, seconds: f64, random: &mut Random, instruments: &mut Instruments) {
        let recipe = &RECIPES[self.recipe];
        let steps = (seconds * STEPS_PER_S * (1.0 + 0.03 * random.normal())).max(0.0);
        self.step += steps;
        let loss = loss(recipe, self.step);
        let noise = 0.015 * loss * random.normal();
        let rate = recipe.learning_rate * (self.step / WARMUP).min(1.0) * (1.0 - 0.9 * self.step / STEPS).max(0.1);
        // What a trainer logs went through 32-bit floats.
        let logged = |value: f64| f64::from(value as f32);
        instruments.set(self.gauges[0], logged(loss + noise));
        instruments.set(self.gauges[1], logged(rate));
        instruments.set(self.gauges[2], logged(random.around(0.25 + 0.12 * loss, 0.2)));
        instruments.set(self.gauges[3], self.step.floor());
        instruments.add(self.tokens, (steps * TOKENS_PER_STEP).round());
        if self.step >= self.evaluated {
            self.evaluated = self.step + EVALUATE;
            let accuracy = (1.02 - 0.19 * loss + 0.004 * random.normal()).clamp(0.0, 1.0);
            instruments.set(self.accuracy, (accuracy * 1e4).round() / 1e4);
        }
    }
}

/// A power law down to the floor, and up again where the run diverges.
fn loss(recipe: &Recipe, step: f64) -> f64 {
    let falling = recipe.floor + 9.2 * (1.0 + step / 12.0).powf(-0.62);
    let rising = recipe.diverges.map_or(0.0, |from| ((step - from) / 1500.0).clamp(0.0, 1.4).powi(2));
    falling + 2.0 * rising
}
