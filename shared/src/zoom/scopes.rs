//! The permissions that the functions need, under their granular and their classic names.

/// One permission: the granular scope of new Zoom apps, and the classic one that includes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Permission {
    /// The granular scope.
    pub granular: &'static str,
    /// The classic scope.
    pub classic: &'static str,
}

/// All permissions that a connection must have.
pub const NEEDED: [Permission; 6] = [
    permission("meeting:write:meeting", "meeting:write"),
    permission("meeting:update:meeting", "meeting:write"),
    permission("meeting:delete:meeting", "meeting:write"),
    permission("meeting:read:meeting", "meeting:read"),
    permission("meeting:read:list_meetings", "meeting:read"),
    permission("user:read:user", "user:read"),
];

const fn permission(granular: &'static str, classic: &'static str) -> Permission {
    Permission { granular, classic }
}

/// The needed permissions that a granted `scope` (space separated) lacks, by their granular names.
pub fn missing(granted: &str) -> Vec<&'static str> {
    let has = |name: &str| granted.split_ascii_whitespace().any(|scope| scope == name);
    NEEDED
        .iter()
        .filter(|permission| !has(permission.granular) && !has(permission.classic))
        .map(|permission| permission.granular)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn granular_or_classic() {
        let granular = NEEDED.map(|permission| permission.granular).join(" ");
        assert!(missing(&granular).is_empty());
        assert!(missing("meeting:write meeting:read user:read").is_empty());
        assert!(missing("meeting:write meeting:read:meeting meeting:read:list_meetings user:read:user").is_empty());
        assert_eq!(missing("meeting:write meeting:read"), ["user:read:user"]);
        assert_eq!(
            missing(&granular.replace("meeting:delete:meeting", "")),
            ["meeting:delete:meeting"]
        );
        assert_eq!(missing("meeting:write:admin").len(), NEEDED.len());
        assert_eq!(missing("").len(), NEEDED.len());
    }
}
