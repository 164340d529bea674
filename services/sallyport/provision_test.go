package main

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sallyport/pkg/bus/permit"
	"sallyport/pkg/clock"
	"sallyport/pkg/seal"
)

func provision(t *testing.T, dir string, change func(*provisionCommand)) error {
	t.Helper()
	return provisionAt(t, clock.System(), dir, change)
}

func provisionAt(t *testing.T, timepiece clock.Clock, dir string, change func(*provisionCommand)) error {
	t.Helper()
	c := &provisionCommand{Dir: dir, NATSHosts: []string{"nats-1", "*.nats-headless"}, MongoDBHosts: []string{"mongodb-1:27017"}, SeenAt: "/run/sallyport"}
	if change != nil {
		change(c)
	}
	return c.make(timepiece)
}

// tree is every file of a directory with its text.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := make(map[string]string)
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %o", path, info.Mode().Perm())
		}
		raw, err := os.ReadFile(path)
		out[strings.TrimPrefix(path, dir+"/")] = string(raw)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Each part gets its own and sees nobody else's; a second run keeps what there is.
func TestProvision(t *testing.T) {
	dir := t.TempDir()
	if err := provision(t, dir, nil); err != nil {
		t.Fatal(err)
	}
	first := tree(t, dir)
	for _, s := range services() {
		own := string(s) + "/"
		if _, err := seal.Load(filepath.Join(dir, own, string(s)+".json"), s); err != nil {
			t.Error(err)
		}
		if first["keys/"+string(s)+".json"] != first[own+string(s)+".json"] {
			t.Errorf("keys/ leads to another key file of %s", s)
		}
		if _, err := permit.Password(filepath.Join(dir, own), permit.User(s)); err != nil {
			t.Error(err)
		}
		password := strings.TrimSpace(first["mongodb/sallyport-"+string(s)+".password"])
		uri := first[own+"mongodb.uri"]
		if !strings.HasPrefix(uri, "mongodb://sallyport-"+string(s)+":"+password+"@mongodb-1:27017/") || !strings.Contains(uri, "tls=true") || !strings.Contains(uri, "%2Frun%2Fsallyport%2Fca.pem") {
			t.Errorf("%s reaches MongoDB by %s", s, uri)
		}
		for file, text := range first {
			if strings.HasPrefix(file, own) && strings.Contains(text, "PRIVATE KEY") {
				t.Errorf("%s holds a key that is not its own", file)
			}
		}
	}
	for _, u := range permit.Users() {
		if password := strings.TrimSpace(first[string(u)+"/nats-"+string(u)+".password"]); password == "" || strings.Contains(first["nats/sallyport.conf"], password) {
			t.Errorf("the password of %s is missing, or stands in clear where NATS reads it", u)
		}
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(first["totp-svc/ca.pem"]))
	for part, host := range map[string]string{"nats": "nats-1", "mongodb": "mongodb-1"} {
		pair, err := tls.X509KeyPair([]byte(first[part+"/"+part+".pem"]), []byte(first[part+"/"+part+".key"]))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{host, "localhost", "127.0.0.1"} {
			if _, err := pair.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: name}); err != nil {
				t.Errorf("%s: %v", part, err)
			}
		}
	}

	if err := provision(t, dir, nil); err != nil {
		t.Fatal(err)
	}
	again := tree(t, dir)
	for file, text := range first {
		if again[file] != text && file != "nats/sallyport.conf" { // hashes have a salt
			t.Errorf("%s was made again", file)
		}
	}

	if err := provision(t, dir, func(c *provisionCommand) { c.NATSHosts = append(c.NATSHosts, "nats-4") }); err != nil {
		t.Fatal(err)
	}
	more := tree(t, dir)
	if more["nats/nats.pem"] == first["nats/nats.pem"] || more["mongodb/mongodb.pem"] != first["mongodb/mongodb.pem"] || more["ca/ca.pem"] != first["ca/ca.pem"] {
		t.Error("a new name is not in the certificate, or more than that was made again")
	}
}

// A key file that is gone is not replaced by a new one, which would open nothing; a run that was cut short is completed.
func TestProvisionNeverReplacesAKey(t *testing.T) {
	dir := t.TempDir()
	if err := provision(t, dir, nil); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "totp-svc", "totp-svc.json")
	if err := os.Rename(file, file+".away"); err != nil {
		t.Fatal(err)
	}
	if err := provision(t, dir, nil); err == nil || !strings.Contains(err.Error(), "restore it from a backup") {
		t.Errorf("without a key file: %v", err)
	}
	if err := os.Rename(file+".away", file); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "keys", "totp-svc.json")); err != nil { // as a kill between two steps leaves it
		t.Fatal(err)
	}
	if err := provision(t, dir, nil); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "keys", "totp-svc.json")); err != nil {
		t.Error(err)
	}
	if err := provision(t, dir, func(c *provisionCommand) { c.Owner = "sallyport" }); err == nil || !strings.Contains(err.Error(), "UID:GID") {
		t.Errorf("an owner by name: %v", err)
	}
}

// Certificates are made again in their last ninety days, not before; the authority stays.
func TestProvisionRenewsCertificates(t *testing.T) {
	dir, now := t.TempDir(), clock.NewFixed(time.Now())
	run := func() map[string]string {
		t.Helper()
		if err := provisionAt(t, now, dir, nil); err != nil {
			t.Fatal(err)
		}
		return tree(t, dir)
	}
	first := run()
	now.Add(certificateLife - renewBefore - time.Hour)
	if early := run(); early["nats/nats.pem"] != first["nats/nats.pem"] {
		t.Error("a certificate with more than ninety days to go was made again")
	}
	now.Add(2 * time.Hour)
	late := run()
	for _, file := range []string{"nats/nats.pem", "mongodb/mongodb.pem", "mongodb/mongodb-and-key.pem"} {
		if late[file] == first[file] {
			t.Errorf("%s was not made again in its last ninety days", file)
		}
	}
	if late["ca/ca.pem"] != first["ca/ca.pem"] {
		t.Error("there is another authority, and nobody believes it")
	}
}
