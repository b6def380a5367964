// Fills forms that carry data-passkey with a passkey's answer (WebAuthn). They stay hidden where the
// browser knows no passkeys.
(() => {
  "use strict";
  if (!window.PublicKeyCredential) return;

  const toBytes = (text) =>
    Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (c) => c.charCodeAt(0));
  const toText = (buffer) =>
    btoa(String.fromCharCode(...new Uint8Array(buffer)))
      .replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
  const named = (list) => (list || []).map((item) => ({ ...item, id: toBytes(item.id) }));

  async function create(options, isPasswordless) {
    const asked = { ...options, challenge: toBytes(options.challenge) };
    asked.user = { ...options.user, id: toBytes(options.user.id) };
    asked.excludeCredentials = named(options.excludeCredentials);
    asked.authenticatorSelection = {
      ...options.authenticatorSelection,
      residentKey: isPasswordless ? "required" : "discouraged",
      requireResidentKey: isPasswordless,
      ...(isPasswordless ? { userVerification: "required" } : {}),
    };
    const made = await navigator.credentials.create({ publicKey: asked });
    return answer(made, {
      clientDataJSON: toText(made.response.clientDataJSON),
      attestationObject: toText(made.response.attestationObject),
    });
  }

  async function get(options) {
    const asked = { ...options, challenge: toBytes(options.challenge) };
    asked.allowCredentials = named(options.allowCredentials);
    const found = await navigator.credentials.get({ publicKey: asked });
    const { authenticatorData, clientDataJSON, signature, userHandle } = found.response;
    return answer(found, {
      authenticatorData: toText(authenticatorData),
      clientDataJSON: toText(clientDataJSON),
      signature: toText(signature),
      userHandle: userHandle ? toText(userHandle) : null,
    });
  }

  function answer(credential, response) {
    return {
      id: credential.id,
      rawId: toText(credential.rawId),
      type: credential.type,
      response,
      clientExtensionResults: credential.getClientExtensionResults(),
    };
  }

  async function fetched(form) {
    const got = await fetch(form.action, { headers: { Accept: "application/json" } });
    if (!got.ok) throw new Error("Tamarack did not answer. Wait a minute, then try again.");
    return (await got.json()).request_options.publicKey;
  }

  const written = () =>
    JSON.parse(document.getElementById("passkey-options").textContent);

  async function fill(form) {
    const ceremony = form.dataset.passkey;
    if (ceremony === "login") return get(await fetched(form));
    if (ceremony === "get") return get(written().request_options.publicKey);
    const passwordless = form.querySelector("[name=passwordless]");
    return create(written().creation_options.publicKey, Boolean(passwordless && passwordless.checked));
  }

  for (const form of document.querySelectorAll("form[data-passkey]")) {
    const said = form.querySelector("[role=alert]");
    form.hidden = false;
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      said.hidden = true;
      try {
        form.elements.credential.value = JSON.stringify(await fill(form));
        form.submit();
      } catch (error) {
        said.textContent = error.name === "NotAllowedError"
          ? "The passkey was not used: it was called off or took too long. Try again."
          : `The passkey can't be used: ${error.message}`;
        said.hidden = false;
      }
    });
  }
})();
