import 'package:url_launcher/url_launcher.dart';

import 'problem.dart';

/// Opens the Zoom app where it is installed, else the browser. Not an in-app web view: sign-in with Google or SSO is
/// refused there. A link that is not `https` is not opened.
Future<void> openOutside(Uri url) async {
  final opened = url.scheme == 'https' && await launchUrl(url, mode: LaunchMode.externalApplication);
  if (!opened) throw const Problem('The link could not be opened.', code: 'launch');
}
