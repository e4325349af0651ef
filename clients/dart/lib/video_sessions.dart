import 'dart:async';
import 'dart:convert';

import 'package:http/http.dart' as http;
import 'package:supabase_flutter/supabase_flutter.dart';
import 'package:uuid/uuid.dart';

import 'models.dart';
import 'problem.dart';

/// Video Sessions for an app: one function a call. Each failure is a [Problem].
///
/// Calls wait and repeat themselves where the contract says how: 409 and 503 with `Retry-After`, a lost answer, an
/// expired sign-in once.
class VideoSessions {
  VideoSessions(this._supabase, {required this.functionsUrl, this.patience = const Duration(minutes: 1), this.onSync});

  final SupabaseClient _supabase;

  /// `https://<ref>.supabase.co/functions/v1`, or the Workers' host with that path.
  final Uri functionsUrl;

  /// So long a call goes on repeating itself.
  final Duration patience;

  /// After an edit, a cancel or a delete: null if Zoom was told, else why it was not yet. The clock does it then.
  final void Function(Problem? problem)? onSync;

  static const _columns =
      'id, host_id, provider, title, description, scheduled_start, timezone, duration_minutes, max_participants, '
      'status, phase, zoom_account, started_at, ended_at, join_url, invite:video_session_invites(share_code), '
      'participants:video_session_participants(user_id, role)';
  static const _over = {'token_expired', 'unauthorized', 'PGRST301', 'PGRST303'};

  // The Zoom connection.

  Future<bool> mayHost() async =>
      await _database(() => _supabase.rpc<bool>('can_host_video_sessions', params: {'user_id': _userId}));

  Future<ZoomConnection> zoomConnection() async =>
      ZoomConnection.fromJson(await _database(() => _supabase.rpc<Map<String, dynamic>>('zoom_connection')));

  /// The address of Zoom's consent page, for the browser outside. Good for ten minutes and for one use: ask at each
  /// tap.
  Future<Uri> startConnecting() async => Uri.parse((await _function('zoom-oauth-start'))['auth_url'] as String);

  /// Makes the connection this user's, by the handle of the way back.
  Future<ZoomConnection> confirmConnecting(String handle) async {
    await _database(() => _supabase.rpc<void>('confirm_zoom_connection', params: {'handle': handle}));
    return zoomConnection();
  }

  /// Call it when the app is opened: an ended connection shows at once.
  Future<void> refreshConnection() async {
    await _function('refresh-token');
  }

  /// Gives up the access to Zoom. Says what Zoom could not be told before: it is told once the same account is
  /// connected again.
  Future<LeftAtZoom> disconnect() async {
    final answer = await _function('zoom-disconnect', timeout: const Duration(minutes: 1));
    return LeftAtZoom.fromJson(answer['left_at_zoom'] as Map<String, dynamic>);
  }

  // Sessions.

  /// A page of the sessions that this user hosts or takes part in. [after] is the last one of the page before.
  Future<List<VideoSession>> list(Phase phase, {int pageSize = 20, VideoSession? after}) async {
    final arguments = {
      'phase': phase.name,
      'page_size': pageSize,
      if (after != null) 'after_start': after.scheduledStart.toUtc().toIso8601String(),
      if (after != null) 'after_id': after.id,
    };
    final rows = await _database(
      () => _supabase.rpc<List<Map<String, dynamic>>>('my_video_sessions', params: arguments).select(_columns),
    );
    return [for (final row in rows) VideoSession.fromJson(row)];
  }

  Future<VideoSession> session(String id) async {
    final row = await _database(() => _supabase.from('video_sessions').select(_columns).eq('id', id).maybeSingle());
    if (row == null) throw Problem.notFound;
    return VideoSession.fromJson(row);
  }

  /// [key]: a [newKey] made when the form opens, kept for every try with the same values, and over a restart. A
  /// [Problem] with `creation_running` or `zoom_outcome_unknown` means that the session may still appear.
  Future<VideoSession> create(Map<String, dynamic> session, {required String key}) async => VideoSession.fromJson(
    await _function(
      'create-session',
      body: session,
      headers: {'Idempotency-Key': key},
      timeout: const Duration(minutes: 1),
    ),
  );

  static String newKey() => const Uuid().v4();

  /// Whoever holds this link is the host. Open it at once: no variable, no log, no storage.
  Future<Uri> start(String sessionId) async {
    final answer = await _function('start-session', body: {'session_id': sessionId});
    return Uri.parse(answer['host_start_url'] as String);
  }

  /// Any of title, description, scheduled_start, timezone, duration_minutes, max_participants, join_url. Zoom is told.
  Future<VideoSession> edit(String sessionId, Map<String, dynamic> changes) async {
    final row = await _database(
      () => _supabase.from('video_sessions').update(changes).eq('id', sessionId).select(_columns).maybeSingle(),
    );
    if (row == null) throw Problem.notFound;
    unawaited(_tellZoom());
    return VideoSession.fromJson(row);
  }

  Future<void> cancel(String sessionId) async {
    await edit(sessionId, {'status': 'cancelled'});
  }

  // Who takes part.

  /// What an invitation leads to, without taking a seat: title, host_name, scheduled_start, seats_left, joined.
  Future<Map<String, dynamic>> preview(String shareCode) =>
      _function('join-session', body: {'share_code': shareCode, 'preview': true});

  Future<VideoSession> join(String shareCode) async {
    final joined = await _function('join-session', body: {'share_code': shareCode});
    return session(joined['id'] as String);
  }

  Future<void> leave(String sessionId) => uninvite(sessionId, _userId);

  Future<void> invite(String sessionId, List<String> userIds) async {
    final seats = [
      for (final id in userIds) {'session_id': sessionId, 'user_id': id},
    ];
    await _database(() => _supabase.from('video_session_participants').insert(seats));
  }

  Future<void> uninvite(String sessionId, String userId) async {
    await _database(
      () => _supabase.from('video_session_participants').delete().eq('session_id', sessionId).eq('user_id', userId),
    );
  }

  // What happens.

  /// The user's feed, the newest first.
  Future<List<SessionEvent>> events({int limit = 20}) async {
    final rows = await _database(
      () => _supabase
          .from('video_session_events')
          .select('id, session_id, kind, details')
          .order('id', ascending: false)
          .limit(limit),
    );
    return [for (final row in rows) SessionEvent.fromJson(row)];
  }

  /// Calls back when something happened, by Supabase Realtime: read again what is shown. Gives what ends it. A phone
  /// that slept may have missed something: read again on resume, too.
  Future<void> Function() watch(void Function() onEvent) {
    final channel = _supabase
        .channel('video-sessions:$_userId')
        .onPostgresChanges(
          event: PostgresChangeEvent.insert,
          schema: 'public',
          table: 'video_session_events',
          filter: PostgresChangeFilter(type: PostgresChangeFilterType.eq, column: 'user_id', value: _userId),
          callback: (_) => onEvent(),
        )
        .subscribe();
    return () async {
      await _supabase.removeChannel(channel);
    };
  }

  // How calls are made.

  String get _userId {
    final user = _supabase.auth.currentUser;
    if (user == null) throw Problem.signedOut;
    return user.id;
  }

  Future<void> _tellZoom() async {
    try {
      await _once('zoom-sync', null, const {}, const Duration(seconds: 30));
      onSync?.call(null);
    } on Problem catch (problem) {
      onSync?.call(problem);
    }
  }

  Future<Map<String, dynamic>> _function(
    String name, {
    Map<String, dynamic>? body,
    Map<String, String> headers = const {},
    Duration timeout = const Duration(seconds: 30),
  }) => _patiently(() => _once(name, body, headers, timeout), mayRepeatLost: true);

  /// By `http` and not by `functions.invoke`: the functions may be on another origin than the project.
  Future<Map<String, dynamic>> _once(
    String name,
    Map<String, dynamic>? body,
    Map<String, String> headers,
    Duration timeout,
  ) async {
    final token = _supabase.auth.currentSession?.accessToken;
    if (token == null) throw Problem.signedOut;
    final http.Response answer;
    try {
      answer = await http
          .post(
            Uri.parse('$functionsUrl/$name'),
            headers: {...headers, 'Authorization': 'Bearer $token', 'Content-Type': 'application/json'},
            body: body == null ? null : jsonEncode(body),
          )
          .timeout(timeout);
    } on Exception {
      // ClientException, SocketException, TimeoutException: the call may or may not have arrived.
      throw Problem.offline;
    }
    final Object? read;
    try {
      read = jsonDecode(utf8.decode(answer.bodyBytes));
    } on FormatException {
      throw Problem('The service does not answer as it should. Try again in a moment.', status: answer.statusCode);
    }
    final json = read is Map<String, dynamic> ? read : const <String, dynamic>{};
    if (answer.statusCode == 200) return json;
    final fields = json['fields'] as Map<String, dynamic>? ?? const {};
    throw Problem(
      json['error'] as String? ?? 'The service does not answer as it should. Try again in a moment.',
      code: json['code'] as String? ?? 'unknown',
      status: answer.statusCode,
      fields: {for (final field in fields.entries) field.key: '${field.value}'},
      retryAfter: Duration(seconds: int.tryParse(answer.headers['retry-after'] ?? '') ?? 0),
    );
  }

  Future<T> _database<T>(Future<T> Function() query) => _patiently(() async {
    try {
      return await query();
    } on PostgrestException catch (failure) {
      throw Problem(
        _isForPeople(failure)
            ? failure.message
            : 'This could not be done. Try again, and contact support if it happens again.',
        code: failure.code ?? 'unknown',
        status: 400,
      );
    } on http.ClientException {
      throw Problem.offline;
    } on TimeoutException {
      throw Problem.offline;
    }
  }, mayRepeatLost: false);

  /// What PostgREST and Postgres say by themselves is for developers; what Video Sessions raises is for people.
  static bool _isForPeople(PostgrestException failure) {
    final code = failure.code ?? '';
    return RegExp(r'^([a-z_]+|PT\d{3})$').hasMatch(code) ||
        (code == '23514' && !failure.message.startsWith('new row for relation'));
  }

  Future<T> _patiently<T>(Future<T> Function() run, {required bool mayRepeatLost}) async {
    final deadline = DateTime.now().add(patience);
    var mayRefresh = true;
    var losses = 0;
    while (true) {
      try {
        return await run();
      } on Problem catch (problem) {
        if (mayRefresh && _over.contains(problem.code)) {
          mayRefresh = false;
          try {
            await _supabase.auth.refreshSession();
          } on AuthException {
            throw problem;
          }
          continue;
        }
        final lost = problem.code == 'offline' && mayRepeatLost && ++losses < 3;
        final told = (problem.status == 409 || problem.status == 503) && problem.retryAfter > Duration.zero;
        final wait = told ? problem.retryAfter : Duration(seconds: losses);
        if (!(lost || told) || DateTime.now().add(wait).isAfter(deadline)) rethrow;
        await Future<void>.delayed(wait);
      }
    }
  }
}
