/// What a link that opened the app means.
sealed class AppLink {
  const AppLink();
}

/// An invitation. Ask before joining: anybody can make a link.
class InviteLink extends AppLink {
  const InviteLink(this.shareCode);
  final String shareCode;
}

/// Back from Zoom's consent page. It proves nothing: confirm it by [handle].
class ConnectedLink extends AppLink {
  const ConnectedLink(this.handle);
  final String? handle;
}

/// Zoom's consent page led nowhere; [code] says why, such as `access_denied`.
class RefusedLink extends AppLink {
  const RefusedLink(this.code);
  final String code;
}

/// Reads a link, in the app's own scheme or as `https` alike; null for one that is not of Video Sessions.
AppLink? readLink(Uri uri) {
  final values = {...Uri.splitQueryString(uri.fragment), ...uri.queryParameters};
  final shareCode = values['share_code'];
  if (shareCode != null && shareCode.isNotEmpty) return InviteLink(shareCode);
  if (values.containsKey('success')) return ConnectedLink(values['handle']);
  final error = values['error'];
  return error == null ? null : RefusedLink(error);
}

/// The link that invites: the address that takes invitations, with the code behind `#`, which no server sees.
Uri inviteLink(Uri inviteUri, String shareCode) =>
    inviteUri.replace(fragment: 'share_code=${Uri.encodeQueryComponent(shareCode)}');
