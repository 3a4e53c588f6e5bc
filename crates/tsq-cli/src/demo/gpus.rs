//! GPUs, named as NVIDIA's DCGM exporter names their metrics: two machines, one serves and one trains.

use super::instruments::{Float, Instruments, Metric};
use super::random::Random;
use crate::failure::Result;

const HOSTS: [&str; 2] = ["infer-node", "train-node"];
const PER_HOST: usize = 4;
const MEMORY_MIB: f64 = 81_920.0;

const fn gauge(name: &'static str, help: &'static str) -> Metric {
    Metric { name, metric_type: "gauge", unit: "", help }
}

const UTILISATION: Metric = gauge("DCGM_FI_DEV_GPU_UTIL", "GPU utilisation in percent");
const POWER: Metric = gauge("DCGM_FI_DEV_POWER_USAGE", "Power draw in watts");
const TEMPERATURE: Metric = gauge("DCGM_FI_DEV_GPU_TEMP", "GPU temperature in degrees Celsius");
const MEMORY: Metric = gauge("DCGM_FI_DEV_FB_USED", "Framebuffer memory used in MiB");
const CLOCK: Metric = gauge("DCGM_FI_DEV_SM_CLOCK", "SM clock in MHz");
const ENERGY: Metric = Metric {
    name: "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION",
    metric_type: "counter",
    unit: "",
    help: "Energy used since the driver was loaded in mJ",
};

#[derive(Debug)]
struct Gpu {
    trains: bool,
    utilisation: Float,
    power: Float,
    temperature: Float,
    memory: Float,
    clock: Float,
    energy: Float,
    celsius: f64,
}

/// All GPUs.
#[derive(Debug)]
pub(super) struct Gpus {
    gpus: Vec<Gpu>,
    random: Random,
}

impl Gpus {
    pub(super) fn new(instruments: &mut Instruments, random: Random) -> Result<Self> {
        let mut gpus = Vec::new();
        for (host, hostname) in HOSTS.iter().enumerate() {
            for index in 0..PER_HOST {
                let gpu = index.to_string();
                let labels: &[(&str, &str)] = &[("gpu", &gpu), ("hostname", hostname)];
                gpus.push(Gpu {
                    trains: host == 1,
                    utilisation: instruments.gauge(&UTILISATION, labels)?,
                    power: instruments.gauge(&POWER, labels)?,
                    temperature: instruments.gauge(&TEMPERATURE, labels)?,
                    memory: instruments.gauge(&MEMORY, labels)?,
                    clock: instruments.gauge(&CLOCK, labels)?,
                    energy: instruments.counter(&ENERGY, labels)?,
                    celsius: 41.0,
                });
            }
        }
        Ok(Self { gpus, random })
    }

    /// Lets `seconds` pass with this load of the inference service.
    pub(super) fn advance(&mut self, time_ms: i64, seconds: f64, load: f64, instruments: &mut Instruments) {
        // Training stops for 20 s every six minutes to save its state.
        let saves = (time_ms / 1000).rem_euclid(360) < 20;
        for gpu in &mut self.gpus {
            let busy = match (gpu.trains, saves) {
                (true, true) => 0.04,
                (true, false) => 0.97,
                (false, _) => (load * 2.2).clamp(0.03, 1.0),
            };
            gpu.advance(busy, seconds, &mut self.random, instruments);
        }
    }
}

impl Gpu {
    fn advance(&mut self, busy: f64, seconds: f64, random: &mut Random, instruments: &mut Instruments) {
        let busy = (busy + 0.02 * random.normal()).clamp(0.0, 1.0);
        let watts = 68.0 + 580.0 * busy + 6.0 * random.normal();
        let target = 36.0 + watts / 16.0;
        self.celsius += (target - self.celsius) * (seconds / 45.0).min(1.0);
        let reserved = if self.trains { 0.91 } else { 0.72 + 0.2 * busy };
        instruments.set(self.utilisation, (busy * 100.0).round());
        instruments.set(self.power, (watts * 1000.0).round() / 1000.0);
        instruments.set(self.temperature, self.celsius.round());
        instruments.set(self.memory, (MEMORY_MIB * reserved).round());
        instruments.set(self.clock, if busy > 0.1 { 1980.0 } else { 345.0 });
        instruments.add(self.energy, (watts * seconds * 1000.0).round());
    }
}
