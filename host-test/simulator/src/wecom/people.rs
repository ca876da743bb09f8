//! What people do at their phones.

use super::state::{Callback, WecomState};
use super::xml;

/// A person sends something: it is shown and called back. Returns the id of its deliveries, which for a
/// message is that of the message.
pub(super) fn speak(server: &WecomState, user: &str, elements: &str, is_message: bool) -> String {
    let number = server.next_message_id();
    let frame = xml::Frame {
        corp_id: &server.app.corp_id,
        agent_id: server.app.agent_id,
        user,
        at_s: server.clock.unix().as_secs(),
        message_id: is_message.then_some(number),
    };
    if is_message {
        let entry = xml::entry(user, elements, number);
        server.note(entry, |records| &mut records.phone);
    }
    let callback = Callback {
        user: user.to_owned(),
        id: number.to_string(),
        xml: frame.around(elements),
    };
    // A server that was shut down posts nothing.
    let _ = server.callbacks.send(callback);
    number.to_string()
}
