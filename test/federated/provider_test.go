package federated

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"testing"

	"github.com/zitadel/oidc/v3/example/server/exampleop"
	"github.com/zitadel/oidc/v3/example/server/storage"

	"sallyport/pkg/bus"
	"sallyport/pkg/contract"
	"sallyport/pkg/secret"
	"sallyport/services/auth-gateway/gateway"
)

// call speaks to the JSON API and decodes its answer into out, if given.
func (h *house) call(t *testing.T, method, path, token, body string, out any) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, h.base+path, bytes.NewBufferString(body))
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }() // read to its end below
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if out != nil && len(raw) > 0 {
		if err := json.Unmarshal(raw, out); err != nil {
			t.Fatalf("%s %s: %v\n%s", method, path, err, raw)
		}
	}
	return resp.StatusCode
}

// directory is the people of the real provider.
type directory map[string]*storage.User

func (d directory) GetUserByID(id string) *storage.User { return d[id] }

func (d directory) GetUserByUsername(name string) *storage.User {
	for _, u := range d {
		if u.Username == name {
			return u
		}
	}
	return nil
}

func (directory) ExampleClientID() string { return "nobody" }

// person is somebody of the real provider, whose user name and password are their id.
func person(id, email string, verified bool) *storage.User {
	return &storage.User{ID: id, Username: id, Password: id, FirstName: "Petra", LastName: "Novak", Email: email, EmailVerified: verified}
}

// realProvider starts zitadel's OpenID provider for one client, and returns how the portal knows it.
func realProvider(t *testing.T, h *house, id, name string, people directory) gateway.Provider {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	issuer := "http://" + l.Addr().String()
	client := t.Name() + "-" + id
	storage.RegisterClients(storage.WebClient(client, "client-secret-"+id, h.base+"/sign-in/callback"))
	server := &httptest.Server{Listener: l, Config: &http.Server{
		Handler:           exampleop.SetupServer(issuer, storage.NewStorage(people), slog.New(slog.DiscardHandler), false),
		ReadHeaderTimeout: providerPatience,
	}}
	server.Start()
	t.Cleanup(server.Close)
	return gateway.Provider{
		ID: id, Name: name, Issuer: issuer, ClientID: client, ClientSecret: secret.New("client-secret-" + id), Domains: []string{"demo.test"},
	}
}

var authRequest = regexp.MustCompile(`name="id" value="([^"]+)"`)

// signInThere fills in the form of the real provider.
func (b *browser) signInThere(name string) {
	b.t.Helper()
	m := authRequest.FindStringSubmatch(b.body)
	if b.at.Path != "/login/username" || m == nil {
		b.t.Fatalf("the browser is at %s with status %d, not at the provider's form\n%s", b.at, b.code, b.body)
	}
	b.post("/login/username", url.Values{"id": {m[1]}, "username": {name}, "password": {name}})
}

// busRequest reads the audit log as the gateway does.
func busRequest(t *testing.T, h *house, req contract.AuditListRequest) (contract.AuditPage, error) {
	t.Helper()
	return bus.Request(t.Context(), h.svc.Bus, contract.PolicyAuditList, req)
}
