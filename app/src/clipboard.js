/** The clipboard, which browsers give to a page only while a tap is fresh. */

/**
 * Copies a text that may still be on its way. Call it in the tap itself: the browser takes the promise now, and the
 * text when it comes. Gives whether it worked.
 */
export async function copyWhenReady(text) {
  const arriving = Promise.resolve(text);
  try {
    const blob = arriving.then((value) => new Blob([value], { type: "text/plain" }));
    await navigator.clipboard.write([new ClipboardItem({ "text/plain": blob })]);
    return true;
  } catch {
    return arriving
      .then((value) => navigator.clipboard.writeText(value))
      .then(
        () => true,
        () => false,
      );
  }
}
