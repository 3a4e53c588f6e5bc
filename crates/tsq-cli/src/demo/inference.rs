//! A service of language models behind a gateway, named as vLLM and HTTP gateways name their metrics.

use super::instruments::{Classic, Float, Instruments, Metric, NativeRef};
use super::random::Random;
use crate::failure::Result;

const TTFT_BOUNDS: &[f64] = &[0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];
const E2E_BOUNDS: &[f64] =
    &[0.05, 0.1, 0.2, 0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0];

/// A model, its usual load and its speed.
struct Model {
    name: &'static str,
    replicas: usize,
    requests_per_s: f64,
    first_token_s: f64,
    token_s: f64,
}

const MODELS: [Model; 3] = [
    Model { name: "chat-8b", replicas: 2, requests_per_s: 9.0, first_token_s: 0.045, token_s: 0.006 },
    Model { name: "code-34b", replicas: 2, requests_per_s: 3.0, first_token_s: 0.14, token_s: 0.014 },
    Model { name: "embed-small", replicas: 1, requests_per_s: 24.0, first_token_s: 0.012, token_s: 0.0 },
];

/// Requests that one replica works on at once.
const SLOTS: f64 = 48.0;

const fn metric(name: &'static str, metric_type: &'static str, unit: &'static str, help: &'static str) -> Metric {
    Metric { name, metric_type, unit, help }
}

/// One server process.
#[derive(Debug)]
struct Replica {
    model: usize,
    up: Float,
    running: Float,
    waiting: Float,
    cache: Float,
    prompt_tokens: Float,
    generated_tokens: Float,
    finished: [Float; 2],
    first_token: Classic,
    whole: Classic,
    gateway: NativeRef,
    responses: [Float; 2],
    busy: f64,
}

/// All replicas.
#[derive(Debug)]
pub(super) struct Inference {
    replicas: Vec<Replica>,
    random: Random,
}

impl Inference {
    pub(super) fn new(instruments: &mut Instruments, random: Random) -> Result<Self> {
        let mut replicas = Vec::new();
        for (model, described) in MODELS.iter().enumerate() {
            for engine in 0..described.replicas {
                replicas.push(Replica::new(instruments, model, engine, replicas.len())?);
            }
        }
        Ok(Self { replicas, random })
    }

    /// Lets `seconds` pass; gives how busy the replicas are, between 0 and 1.
    pub(super) fn advance(&mut self, time_ms: i64, seconds: f64, instruments: &mut Instruments) -> f64 {
        let mut busy = 0.0;
        for replica in &mut self.replicas {
            replica.advance(time_ms, seconds, &mut self.random, instruments);
            busy += replica.busy / SLOTS;
        }
        busy / self.replicas.len() as f64
    }
}

/// Load relative to the usual one: a slow wave, a faster one, and a rush of two minutes every 23.
fn demand(time_ms: i64, model: usize) -> f64 {
    let minutes = time_ms as f64 / 60_000.0 + 7.0 * model as f64;
    let wave = |period: f64| (std::f64::consts::TAU * minutes / period).sin();
    let rush = if minutes.rem_euclid(23.0) < 2.0 { 1.8 } else { 1.0 };
    (1.0 + 0.35 * wave(47.0) + 0.15 * wave(11.0)) * rush
}

/// Whether a replica suffers: three minutes in every 29 one of them does.
fn slow(time_ms: i64, model: usize, engine: &Replica) -> bool {
    let minute = (time_ms / 60_000).rem_euclid(29);
    let turn = (time_ms / 60_000).div_euclid(29).rem_euclid(MODELS.len() as i64) as usize;
    minute < 3 && turn == model && engine.model == model
}

impl Replica {
    fn new(instruments: &mut Instruments, model: usize, engine: usize, index: usize) -> Result<Self> {
        let (name, engine, instance) = (MODELS[model].name, engine.to_string(), format!("infer-{index}:8000"));
        let labels: &[(&str, &str)] = &[("model_name", name), ("engine", &engine), ("instance", &instance)];
        let with = |more: (&'static str, &'static str)| [labels, &[more]].concat();
        let finished = metric("vllm:request_success_total", "counter", "", "Requests finished, by reason");
        let responses = metric("gateway_responses_total", "counter", "", "Responses of the gateway, by status code");
        Ok(Self {
            model,
            up: instruments.gauge(
                &metric("up", "gauge", "", "Whether the last scrape succeeded"),
                &[("job", "inference"), ("instance", &instance)],
            )?,
            running: instruments
                .gauge(&metric("vllm:num_requests_running", "gauge", "", "Requests being generated"), labels)?,
            waiting: instruments
                .gauge(&metric("vllm:num_requests_waiting", "gauge", "", "Requests that wait for a slot"), labels)?,
            cache: instruments.gauge(
                &metric("vllm:kv_cache_usage_perc", "gauge", "", "Share of the KV cache in use, 0 to 1"),
                labels,
            )?,
            prompt_tokens: instruments
                .counter(&metric("vllm:prompt_tokens_total", "counter", "", "Prompt tokens processed"), labels)?,
            generated_tokens: instruments
                .counter(&metric("vllm:generation_tokens_total", "counter", "", "Tokens generated"), labels)?,
            finished: [
                instruments.counter(&finished, &with(("finished_reason", "stop")))?,
                instruments.counter(&finished, &with(("finished_reason", "length")))?,
            ],
            first_token: instruments.classic(
                &metric("vllm:time_to_first_token_seconds", "histogram", "seconds", "Time until the first token"),
                TTFT_BOUNDS,
                labels,
            )?,
            whole: instruments.classic(
                &metric("vllm:e2e_request_latency_seconds", "histogram", "seconds", "Time of whole requests"),
                E2E_BOUNDS,
                labels,
            )?,
            gateway: instruments.native(
                &metric("gateway_request_duration_seconds", "histogram", "seconds", "Time of requests at the gateway"),
                labels,
            )?,
            responses: [
                instruments.counter(&responses, &with(("code", "200")))?,
                instruments.counter(&responses, &with(("code", "503")))?,
            ],
            busy: 0.0,
        })
    }

    fn advance(&mut self, time_ms: i64, seconds: f64, random: &mut Random, instruments: &mut Instruments) {
        let model = &MODELS[self.model];
        let slow = slow(time_ms, self.model, self);
        let rate = model.requests_per_s * demand(time_ms, self.model) / model.replicas as f64;
        // A queue builds up when the slots are taken: requests then wait for their first token.
        let strain = (self.busy / SLOTS).min(0.97);
        let queueing = (1.0 / (1.0 - strain)).min(6.0) * if slow { 4.0 } else { 1.0 };
        let mut spent_s = 0.0;
        for _ in 0..random.events(rate * seconds) {
            spent_s += self.request(model, queueing, slow, random, instruments);
        }
        let busy = (spent_s / seconds).min(SLOTS * 1.5);
        self.busy += (busy - self.busy) * (seconds / 10.0).min(1.0);
        instruments.set(self.up, 1.0);
        instruments.set(self.running, self.busy.min(SLOTS).round());
        instruments.set(self.waiting, (self.busy * 1.3 - SLOTS * 0.5).max(0.0).round());
        instruments.set(self.cache, ((self.busy / SLOTS * 0.9 + 0.02 * random.unit()).min(1.0) * 1e4).round() / 1e4);
    }

    /// One request; gives the seconds it took.
    fn request(
        &self,
        model: &Model,
        queueing: f64,
        slow: bool,
        random: &mut Random,
        instruments: &mut Instruments,
    ) -> f64 {
        if slow && random.chance(0.06) {
            instruments.add(self.responses[1], 1.0);
            instruments.observe_native(self.gateway, random.around(0.004, 0.3));
            return 0.0;
        }
        let prompt = random.around(420.0, 0.9).round().max(1.0);
        let generated = if model.token_s > 0.0 { random.around(140.0, 0.6).round().clamp(1.0, 2048.0) } else { 0.0 };
        let first_s = random.around(model.first_token_s, 0.35) * queueing * (0.6 + prompt / 1000.0);
        let whole_s = first_s + generated * random.around(model.token_s.max(1e-9), 0.15) * queueing.sqrt();
        instruments.observe(&self.first_token, first_s);
        instruments.observe(&self.whole, whole_s);
        instruments.observe_native(self.gateway, whole_s + random.around(0.002, 0.4));
        instruments.add(self.prompt_tokens, prompt);
        instruments.add(self.generated_tokens, generated);
        instruments.add(self.finished[usize::from(random.chance(0.08))], 1.0);
        instruments.add(self.responses[0], 1.0);
        whole_s
    }
}
