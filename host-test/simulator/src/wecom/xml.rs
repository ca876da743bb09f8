//! What people write, as the platform's XML, and the XML that a client answers.

use serde_json::Value;

/// The elements of a message of this type, without its frame.
pub(super) fn text(content: &str) -> String {
    format!(
        "<MsgType>{}</MsgType><Content>{}</Content>",
        cdata("text"),
        cdata(content)
    )
}

/// The elements of a file's message.
pub(super) fn file(kind: &str, name: &str, media_id: &str, size: usize) -> String {
    let media_id = cdata(media_id);
    let more = match kind {
        "image" => format!("<PicUrl>{}</PicUrl>", cdata("http://p.example/pic")),
        "voice" => format!("<Format>{}</Format>", cdata("amr")),
        "video" => format!("<ThumbMediaId>{}</ThumbMediaId>", cdata("thumb")),
        _ => format!(
            "<FileName>{}</FileName><FileSize>{size}</FileSize>",
            cdata(name)
        ),
    };
    format!(
        "<MsgType>{}</MsgType><MediaId>{media_id}</MediaId>{more}",
        cdata(kind)
    )
}

pub(super) fn location(latitude: f64, longitude: f64, label: &str) -> String {
    format!(
        "<MsgType>{}</MsgType><Location_X>{latitude}</Location_X>\
         <Location_Y>{longitude}</Location_Y><Scale>20</Scale><Label>{}</Label>",
        cdata("location"),
        cdata(label)
    )
}

pub(super) fn link(title: &str, description: &str, url: &str) -> String {
    format!(
        "<MsgType>{}</MsgType><Title>{}</Title><Description>{}</Description><Url>{}</Url>\
         <PicUrl>{}</PicUrl>",
        cdata("link"),
        cdata(title),
        cdata(description),
        cdata(url),
        cdata("http://p.example/pic")
    )
}

pub(super) fn event(name: &str, key: &str) -> String {
    format!(
        "<MsgType>{}</MsgType><Event>{}</Event><EventKey>{}</EventKey>",
        cdata("event"),
        cdata(name),
        cdata(key)
    )
}

/// Who and when, around the elements of a message.
pub(super) struct Frame<'a> {
    pub(super) corp_id: &'a str,
    pub(super) agent_id: u64,
    pub(super) user: &'a str,
    pub(super) at_s: u64,
    /// Events have none.
    pub(super) message_id: Option<u64>,
}

impl Frame<'_> {
    pub(super) fn around(&self, elements: &str) -> String {
        let message_id = self.message_id.map(|id| format!("<MsgId>{id}</MsgId>"));
        format!(
            "<xml><ToUserName>{}</ToUserName><FromUserName>{}</FromUserName>\
             <CreateTime>{}</CreateTime>{elements}{}<AgentID>{}</AgentID></xml>",
            cdata(self.corp_id),
            cdata(self.user),
            self.at_s,
            message_id.unwrap_or_default(),
            self.agent_id
        )
    }
}

/// What the platform wraps a sealed message in.
pub(super) fn envelope(corp_id: &str, agent_id: u64, encrypt: &str) -> String {
    format!(
        "<xml><ToUserName>{}</ToUserName><Encrypt>{}</Encrypt><AgentID>{}</AgentID></xml>",
        cdata(corp_id),
        cdata(encrypt),
        cdata(&agent_id.to_string())
    )
}

fn cdata(text: &str) -> String {
    format!("<![CDATA[{}]]>", text.replace("]]>", "]]]]><![CDATA[>"))
}

/// The text of an element that has no others within it.
pub(super) fn element(xml: &str, name: &str) -> Option<String> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    let (content, _) = rest.split_once(&format!("</{name}>"))?;
    let mut text = String::new();
    let mut rest = content.trim();
    while let Some((plain, after)) = rest.split_once("<![CDATA[") {
        text.push_str(plain);
        let (section, after) = after.split_once("]]>")?;
        text.push_str(section);
        rest = after;
    }
    text.push_str(rest);
    Some(text)
}

/// A person's message as the phone of that person shows it.
pub(super) fn entry(user: &str, elements: &str, message_id: u64) -> Value {
    serde_json::json!({
        "user": user,
        "from": "user",
        "type": element(elements, "MsgType"),
        "text": element(elements, "Content"),
        "message_id": message_id.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for content in ["hi", "a]]>b", "<b>&amp;", ""] {
            let frame = Frame {
                corp_id: "ww",
                agent_id: 7,
                user: "alice",
                at_s: 5,
                message_id: Some(9),
            };
            let xml = frame.around(&text(content));
            assert_eq!(element(&xml, "Content").as_deref(), Some(content));
            assert_eq!(element(&xml, "MsgId").as_deref(), Some("9"));
            assert_eq!(element(&xml, "Nothing"), None);
        }
    }
}
