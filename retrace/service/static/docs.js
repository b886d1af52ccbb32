// Nothing is asked of another server: no validator badge, no configuration from the address.
window.ui = SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#ui",
  deepLinking: true,
  docExpansion: "none",
  validatorUrl: null,
  queryConfigEnabled: false,
  persistAuthorization: false,
});
