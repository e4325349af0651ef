/// A failure, worded for a person.
class Problem implements Exception {
  const Problem(
    this.sentence, {
    this.code = 'unknown',
    this.status = 0,
    this.fields = const {},
    this.retryAfter = Duration.zero,
  });

  static const offline = Problem(
    'The service cannot be reached. Check your connection and try again.',
    code: 'offline',
  );
  static const signedOut = Problem('You are signed out. Sign in and try again.', code: 'signed_out', status: 401);
  static const notFound = Problem('There is no such session.', code: 'session_not_found', status: 404);

  /// For people: what happened, and what to do now.
  final String sentence;

  /// For programs: one of the contract's codes, `offline`, `signed_out`, or a code of PostgREST's.
  final String code;

  /// Of the HTTP answer; 0 where none came.
  final int status;

  /// What is wrong with each field of the request, by its name.
  final Map<String, String> fields;

  /// Until another try makes sense.
  final Duration retryAfter;

  @override
  String toString() => sentence;
}
