// The viewer has both themes, but chooses none.
const dark = matchMedia("(prefers-color-scheme: dark)");
const applyTheme = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
dark.addEventListener("change", applyTheme);
applyTheme();

async function show() {
  const spec = await (await fetch("openapi.json")).json();
  // The API may be beneath a path of its host, such as the name of a stage.
  spec.servers = [{ url: new URL("../..", location.href).href.replace(/\/$/, "") }];
  SwaggerUIBundle({
    spec,
    dom_id: "#operations",
    deepLinking: true,
    defaultModelsExpandDepth: 0,
    displayRequestDuration: true,
    filter: true,
    presets: [SwaggerUIBundle.presets.apis],
    tryItOutEnabled: true,
    // Otherwise the document's address goes to a foreign host.
    validatorUrl: null,
  });
}

show().catch((error) => {
  document.getElementById("operations").textContent = `The document could not be read: ${error.message}`;
});
