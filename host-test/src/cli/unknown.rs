//! Variables that a person set in vain.

use std::ffi::OsString;

use super::{wecom, weixin};

/// Two names that are at least as similar as this are one name and its misspelling.
const SIMILAR: f64 = 0.7;

/// The variables of platforms: those of accounts, and the simulator's.
pub(super) fn of_platforms() -> Vec<String> {
    let named = weixin::IDENTITY.into_iter().chain(["WEIXIN_SIM_TOKEN"]);
    let mut names: Vec<String> = named.map(str::to_owned).collect();
    names.extend(wecom::identity().map(|key| wecom::SETTINGS.variable(key)));
    for settings in [weixin::SETTINGS, wecom::SETTINGS] {
        names.extend(settings.keys.iter().map(|(key, _)| settings.variable(key)));
    }
    names
}

/// Of the names of variables that are set, a line for each that begins like ours and is none of them:
/// it has no effect, and its person thinks that it has.
pub fn variables(set: impl IntoIterator<Item = OsString>) -> Vec<String> {
    let known = of_platforms();
    let prefixes = [weixin::SETTINGS.prefix, wecom::SETTINGS.prefix];
    let set = set.into_iter().filter_map(|name| name.into_string().ok());
    let is_ours = |name: &String| prefixes.iter().any(|prefix| name.starts_with(prefix));
    let unknown = set.filter(|name| is_ours(name) && !known.contains(name));
    unknown
        .map(|name| {
            let similarity = |other: &String| strsim::normalized_damerau_levenshtein(&name, other);
            let similar = known
                .iter()
                .map(|other| (similarity(other), other))
                .filter(|(similarity, _)| *similarity >= SIMILAR)
                .max_by(|(one, _), (other, _)| one.total_cmp(other));
            match similar {
                Some((_, meant)) => format!(
                    "the variable {name} is unknown and has no effect: {meant} may be meant"
                ),
                None => format!("the variable {name} is unknown and has no effect"),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelled_variable_is_told_with_the_one_that_is_meant() {
        for (name, meant) in [
            ("WEIXIN_ALOWED_USERS", Some("WEIXIN_ALLOWED_USERS")),
            ("WEIXIN_DM_POLCIY", Some("WEIXIN_DM_POLICY")),
            ("WEIXIN_ACCOUNT", Some("WEIXIN_ACCOUNT_ID")),
            ("WECOM_CORPID", Some("WECOM_CORP_ID")),
            ("WEIXIN_CORP_ID", Some("WECOM_CORP_ID")),
            ("WECOM_AES_KEY", None),
            ("WEIXIN_SECRET_OF_A_TOOL", None),
        ] {
            let lines = variables([name.into()]);
            let [line] = lines.as_slice() else {
                panic!("{name}: {lines:?}");
            };
            assert!(line.contains(&format!("variable {name} is")), "{line}");
            match meant {
                Some(meant) => assert!(line.ends_with(&format!("{meant} may be meant")), "{line}"),
                None => assert!(line.ends_with("has no effect"), "{line}"),
            }
        }
    }

    #[test]
    fn variables_that_are_ours_or_others_are_not_told() {
        let ours = of_platforms().into_iter().map(OsString::from);
        let others = ["HOST_ADMIN_TOKE", "WEIXI_TOKEN", "PATH"].map(OsString::from);
        assert_eq!(variables(ours.chain(others)), [""; 0]);
    }
}
