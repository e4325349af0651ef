import 'dart:async';

import 'package:app_links/app_links.dart';
import 'package:flutter/widgets.dart';

import 'links.dart';

/// Hands on each link that opens the app, and says when the app is looked at again. Put it around the app's router.
///
/// Each link counts each time that it is opened: a second refusal, a second connection and the same invitation again
/// are news.
class VideoSessionLinks extends StatefulWidget {
  const VideoSessionLinks({super.key, required this.onLink, required this.onResume, required this.child});

  final void Function(AppLink link) onLink;

  /// Zoom is another app: read again what is shown.
  final VoidCallback onResume;
  final Widget child;

  @override
  State<VideoSessionLinks> createState() => _VideoSessionLinksState();
}

class _VideoSessionLinksState extends State<VideoSessionLinks> {
  late final StreamSubscription<Uri> _links;
  late final AppLifecycleListener _lifecycle;

  @override
  void initState() {
    super.initState();
    // Both are made here: a lazy `late final` that nobody reads would never be made. The stream begins with the link
    // that started the app.
    _links = AppLinks().uriLinkStream.listen(_open);
    _lifecycle = AppLifecycleListener(onResume: () => widget.onResume());
  }

  @override
  void dispose() {
    _lifecycle.dispose();
    unawaited(_links.cancel());
    super.dispose();
  }

  void _open(Uri uri) {
    final link = readLink(uri);
    if (link != null && mounted) widget.onLink(link);
  }

  @override
  Widget build(BuildContext context) => widget.child;
}
