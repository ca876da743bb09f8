//! Runs a login. It needs no started instance, and there is one login at a time.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use super::erased::About;
use super::imports::{self, Log};
use crate::error::{Error, ErrorKind};
use crate::platform::{Action, LoginMachine, Step};
use crate::signal::Signal;

/// Failures in a row after which a login is not begun.
const BEGIN_TRIES: u32 = 3;

thread_local! {
    static SESSION: RefCell<Option<Rc<Session>>> = const { RefCell::new(None) };
}

struct Session {
    title: &'static str,
    login: RefCell<Box<dyn LoginMachine>>,
    /// Somebody waits for the next step, and does what it takes.
    is_driven: Cell<bool>,
    last: RefCell<Option<Step>>,
    stepped: Signal,
}

/// Starts over.
pub async fn begin(about: &'static About) -> Result<Step, Error> {
    let session = Rc::new(Session {
        title: about.title,
        login: RefCell::new(login(about)?),
        is_driven: Cell::new(false),
        last: RefCell::default(),
        stepped: Signal::default(),
    });
    let before = SESSION.replace(Some(Rc::clone(&session)));
    if let Some(before) = before {
        before.stepped.raise();
    }
    session.step().await
}

/// Waits for the next step.
pub async fn next(about: &'static About) -> Result<Step, Error> {
    current(about)?.step().await
}

/// Hands over the digits, and waits for the next step.
pub async fn submit(about: &'static About, digits: &str) -> Result<Step, Error> {
    let session = current(about)?;
    session.login.borrow_mut().submit(digits)?;
    session.step().await
}

fn login(about: &'static About) -> Result<Box<dyn LoginMachine>, Error> {
    let lookup = |key: &str| imports::config(Log(about.name), key);
    (about.login)(&lookup, imports::now())
}

fn current(about: &'static About) -> Result<Rc<Session>, Error> {
    let session = SESSION.with_borrow(Clone::clone);
    if let Some(session) = session.filter(|session| !session.login.borrow().has_ended()) {
        return Ok(session);
    }
    match login(about) {
        Err(error) if error.kind == ErrorKind::Unsupported => Err(error),
        _ => Err(Error::new(
            ErrorKind::Invalid,
            "no login is under way: begin one",
        )),
    }
}

impl Session {
    fn is_current(self: &Rc<Self>) -> bool {
        SESSION.with_borrow(|current| {
            current
                .as_ref()
                .is_some_and(|current| Rc::ptr_eq(current, self))
        })
    }

    async fn step(self: &Rc<Self>) -> Result<Step, Error> {
        if self.is_driven.replace(true) {
            let seen = self.stepped.count();
            self.stepped.wait(seen).await;
            let last = self.last.borrow().clone();
            return last.ok_or_else(superseded);
        }
        let step = self.drive().await;
        self.is_driven.set(false);
        self.last.replace(step.as_ref().ok().cloned());
        self.stepped.raise();
        step
    }

    async fn drive(self: &Rc<Self>) -> Result<Step, Error> {
        loop {
            if !self.is_current() {
                return Err(superseded());
            }
            let mut action = {
                let mut login = self.login.borrow_mut();
                login.next(imports::now(), imports::random())
            };
            if let Action::Ask(request) = action {
                let answer = imports::fetch(request).await;
                action = self.login.borrow_mut().answer(imports::random(), answer);
            }
            match action {
                Action::Tell(step) => return Ok(step),
                Action::Wait(pause) => {
                    if let Some(why) = self.login.borrow().cannot_begin(BEGIN_TRIES) {
                        let why = format!("{} gives no code for a login: {why}", self.title);
                        return Err(Error::new(ErrorKind::Transient, why));
                    }
                    imports::sleep_until(imports::now() + pause).await;
                }
                // An answer asks for nothing by itself.
                Action::Ask(_) => {
                    imports::sleep_until(imports::now() + Duration::from_secs(1)).await
                }
            }
        }
    }
}

fn superseded() -> Error {
    Error::new(ErrorKind::Invalid, "another login was begun after this one")
}
