//! Versions of Gantry: what one looks like, and from which to which a running cluster may go.

/// What a version that cannot follow another is told, after both are named.
pub const ALLOWED_JUMPS: &str = "one minor version up or down at a time, within one major version";

/// Whether the text is `major.minor.patch` without leading zeros, then perhaps `-pre.release` and `+build`.
pub fn is_version(text: &str) -> bool {
    let (rest, build) = text.split_once('+').map_or((text, None), |(rest, build)| (rest, Some(build)));
    let (core, pre) = rest.split_once('-').map_or((rest, None), |(core, pre)| (core, Some(pre)));
    let number = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|byte| byte.is_ascii_digit())
            && (part == "0" || !part.starts_with('0'))
    };
    let word = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    let numeric = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    core.split('.').count() == 3
        && core.split('.').all(number)
        && pre.is_none_or(|pre| pre.split('.').all(|part| word(part) && (!numeric(part) || number(part))))
        && build.is_none_or(|build| build.split('.').all(word))
}

/// Whether members of one version may be replaced by those of another: any patch, one minor version up or down. What
/// is no version of ours holds nobody up.
pub fn can_jump(from: &str, to: &str) -> bool {
    match (major_and_minor(from), major_and_minor(to)) {
        (Some((from_major, from_minor)), Some((to_major, to_minor))) => {
            from_major == to_major && from_minor.abs_diff(to_minor) <= 1
        }
        _ => true,
    }
}

fn major_and_minor(version: &str) -> Option<(u64, u64)> {
    let core = version.split(['-', '+']).next().unwrap_or_default();
    let mut parts = core.split('.').map(|part| part.parse::<u64>().ok());
    Some((parts.next()??, parts.next()??))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_change_by_one_minor_number_at_most() {
        let cases = [
            ("0.1.0", "0.1.9", true),
            ("0.1.0", "0.2.0-rc.1", true),
            ("0.2.0", "0.1.3", true),
            ("0.1.0", "0.3.0", false),
            ("1.0.0", "0.1.0", false),
            ("odd", "0.1.0", true),
        ];
        for (from, to, allowed) in cases {
            assert_eq!(can_jump(from, to), allowed, "{from} {to}");
        }
    }
}
