//! The one part of an upload, read from the bytes of its body.

/// A file as a client sends it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Part<'a> {
    pub(super) name: String,
    pub(super) filename: String,
    pub(super) content_type: Option<String>,
    pub(super) content: &'a [u8],
}

/// Reads the body of an upload.
///
/// # Errors
/// What is wrong with it.
pub(super) fn read<'a>(content_type: &str, body: &'a [u8]) -> Result<Part<'a>, String> {
    let boundary = content_type
        .strip_prefix("multipart/form-data;")
        .and_then(|rest| rest.trim().strip_prefix("boundary="))
        .map(|boundary| boundary.trim_matches('"'))
        .filter(|boundary| (1..=70).contains(&boundary.len()))
        .ok_or("the content type is no multipart/form-data with a boundary")?;
    let body = body
        .strip_prefix(format!("--{boundary}\r\n").as_bytes())
        .ok_or("the body does not begin with its boundary")?;
    let end = format!("\r\n--{boundary}--");
    let body = match body.strip_suffix(b"\r\n") {
        Some(body) => body,
        None => body,
    };
    let body = body
        .strip_suffix(end.as_bytes())
        .ok_or("the body does not end with its boundary")?;
    let delimiter = format!("\r\n--{boundary}");
    if find(body, delimiter.as_bytes()).is_some() {
        return Err("the body has more than one part, or the file has its boundary".to_owned());
    }
    let head_end = find(body, b"\r\n\r\n").ok_or("the part has no end of its headers")?;
    let (head, content) = body.split_at(head_end);
    let content = content.split_at(4).1;
    let head = std::str::from_utf8(head).map_err(|_| "the part's headers are no UTF-8")?;
    let header = |name: &str| {
        head.split("\r\n").find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name)
                .then(|| value.trim().to_owned())
        })
    };
    let disposition = header("Content-Disposition").ok_or("the part has no disposition")?;
    let quoted = |name: &str| {
        let (_, rest) = disposition.split_once(&format!(" {name}=\""))?;
        rest.split_once('"').map(|(value, _)| value.to_owned())
    };
    let length = disposition
        .split_once("filelength=")
        .map(|(_, rest)| rest.split(';').next().unwrap_or_default().trim());
    if length.is_some_and(|length| length != content.len().to_string()) {
        return Err("filelength is not the length of the file".to_owned());
    }
    Ok(Part {
        name: quoted("name").ok_or("the part has no name")?,
        filename: quoted("filename").ok_or("the part has no filename")?,
        content_type: header("Content-Type"),
        content,
    })
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_body_is_read_and_others_are_named() {
        let body = "--acebdf13572468\r\nContent-Disposition: form-data; name=\"media\"; \
                    filename=\"报告.txt\"; filelength=6\r\nContent-Type: application/octet-stream\
                    \r\n\r\nmytext\r\n--acebdf13572468--\r\n";
        let kind = "multipart/form-data; boundary=acebdf13572468";
        let part = read(kind, body.as_bytes()).unwrap();
        assert_eq!(
            (part.name.as_str(), part.filename.as_str()),
            ("media", "报告.txt")
        );
        assert_eq!(part.content, b"mytext");
        assert_eq!(
            part.content_type.as_deref(),
            Some("application/octet-stream")
        );
        for (kind, body) in [
            ("application/json", body.to_owned()),
            (kind, String::new()),
            (kind, body.replace("--\r\n", "")),
            (kind, body.replace("filelength=6", "filelength=7")),
            (kind, body.replace("filename=", "file=")),
            (
                kind,
                body.replace("mytext", "my\r\n--acebdf13572468\r\ntext"),
            ),
            (kind, body.replace("\r\n\r\n", "\r\n")),
        ] {
            assert!(read(kind, body.as_bytes()).is_err(), "{body}");
        }
    }
}
