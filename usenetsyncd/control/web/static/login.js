// The word of a one-time link stands behind the #, which no server, proxy or log ever sees.
"use strict";
const word = decodeURIComponent(location.hash.slice(1));
if (word) {
  history.replaceState(null, "", "/login");
  const form = document.getElementById("by-link");
  form.elements.word.value = word;
  form.submit();
}
