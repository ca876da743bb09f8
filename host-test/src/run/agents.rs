//! The agents of a run: one for each that is named, however many accounts name it.

use std::sync::{Arc, Mutex, PoisonError};

use gateway_host::agent::{Agent, AgentSpec, Settings};
use gateway_host::clock::Clock;

/// Agents, started when they are first named. They stay until the end.
pub struct Agents {
    default: AgentSpec,
    settings: Settings,
    clock: Clock,
    started: Mutex<Vec<(AgentSpec, Arc<dyn Agent>)>>,
}

impl Agents {
    /// With the agent of the accounts that name none.
    pub fn new(default: AgentSpec, settings: Settings, clock: Clock) -> Agents {
        Agents {
            default,
            settings,
            clock,
            started: Mutex::default(),
        }
    }

    /// The agent of accounts that name none.
    pub fn default(&self) -> Arc<dyn Agent> {
        self.of(&self.default)
    }

    /// The agent of this name. Must be called within a runtime.
    pub fn of(&self, spec: &AgentSpec) -> Arc<dyn Agent> {
        let mut started = self.started.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, agent)) = started.iter().find(|(other, _)| other == spec) {
            return Arc::clone(agent);
        }
        let agent = spec
            .clone()
            .start(self.settings.clone(), self.clock.clone());
        started.push((spec.clone(), Arc::clone(&agent)));
        agent
    }
}
