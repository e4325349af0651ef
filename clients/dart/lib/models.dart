/// Where in its life a session is. `ongoing` is running or interrupted.
enum Phase { upcoming, ongoing, past }

/// A session as its people see it. It never holds the link that starts it.
class VideoSession {
  VideoSession.fromJson(Map<String, dynamic> json)
    : id = json['id'] as String,
      hostId = json['host_id'] as String,
      isZoom = json['provider'] == 'zoom',
      title = json['title'] as String,
      description = json['description'] as String? ?? '',
      scheduledStart = DateTime.parse(json['scheduled_start'] as String),
      timezone = json['timezone'] as String? ?? 'UTC',
      duration = Duration(minutes: json['duration_minutes'] as int),
      maxParticipants = json['max_participants'] as int,
      status = json['status'] as String,
      // The answer of a creation has none: it is to come.
      phase = Phase.values.byName(json['phase'] as String? ?? 'upcoming'),
      zoomAccount = json['zoom_account'] as String?,
      startedAt = _instant(json['started_at']),
      endedAt = _instant(json['ended_at']),
      joinUrl = Uri.parse(json['join_url'] as String),
      shareCode = _shareCode(json),
      participantIds = [
        for (final seat in json['participants'] as List<dynamic>? ?? const <dynamic>[])
          (seat as Map<String, dynamic>)['user_id'] as String,
      ];

  final String id, hostId, title, description, timezone, status;
  final bool isZoom;

  /// An instant: show it by `toLocal()`.
  final DateTime scheduledStart;
  final Duration duration;

  /// The host counts as one.
  final int maxParticipants;
  final DateTime? startedAt, endedAt;
  final Uri joinUrl;

  /// For the host alone; null to guests.
  final String? shareCode;

  /// The host sees everybody, a guest the own seat.
  final List<String> participantIds;

  final Phase phase;

  /// The Zoom account that it belongs to, by its email address: for the host alone.
  final String? zoomAccount;

  /// The meeting has ended before its time: Start and Join go on.
  bool get isInterrupted => phase == Phase.ongoing && endedAt != null;

  static DateTime? _instant(Object? value) => value == null ? null : DateTime.parse(value as String);

  static String? _shareCode(Map<String, dynamic> json) {
    final invite = json['invite'];
    if (invite is Map<String, dynamic>) return invite['share_code'] as String?;
    return json['share_code'] as String?;
  }
}

enum ConnectionState { notConnected, connected, expired }

/// A host's connection to Zoom.
class ZoomConnection {
  ZoomConnection.fromJson(Map<String, dynamic> json)
    : state = switch (json['state']) {
        'connected' => ConnectionState.connected,
        'expired' => ConnectionState.expired,
        _ => ConnectionState.notConnected,
      },
      email = json['zoom_account_email'] as String?,
      reason = json['reason'] as String?;

  final ConnectionState state;
  final String? email;

  /// Why it has ended, such as `revoked` or `idle`.
  final String? reason;
}

/// What Zoom does not know of a host's sessions after a disconnect, by count.
class LeftAtZoom {
  LeftAtZoom.fromJson(Map<String, dynamic> json)
    : changes = json['changes'] as int,
      deletions = json['deletions'] as int,
      creations = json['creations'] as int;

  /// Meetings with an old title, time or description.
  final int changes;

  /// Meetings of sessions that were cancelled, ended or deleted.
  final int deletions;

  /// Sessions that may or may not have a meeting in Zoom.
  final int creations;
}

/// Something that happened to this user's sessions, or to the Zoom connection (`sessionId` is null then).
class SessionEvent {
  SessionEvent.fromJson(Map<String, dynamic> json)
    : id = json['id'] as int,
      sessionId = json['session_id'] as String?,
      kind = json['kind'] as String,
      details = json['details'] as Map<String, dynamic>? ?? const {};

  final int id;
  final String? sessionId;
  final String kind;
  final Map<String, dynamic> details;
}
