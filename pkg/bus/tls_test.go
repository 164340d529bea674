package bus_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"sallyport/pkg/bus"
	"sallyport/pkg/contract"
)

// authority signs certificates in a directory.
type authority struct {
	tb   testing.TB
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string
}

func newAuthority(tb testing.TB, name string) *authority {
	tb.Helper()
	a := &authority{tb: tb, dir: tb.TempDir()}
	a.key, a.cert = a.issue(name, &x509.Certificate{
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	})
	a.file = filepath.Join(a.dir, name+".pem")
	return a
}

func (a *authority) issue(name string, c *x509.Certificate) (*ecdsa.PrivateKey, *x509.Certificate) {
	a.tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.tb.Fatal(err)
	}
	c.SerialNumber, c.Subject = big.NewInt(time.Now().UnixNano()), pkix.Name{CommonName: name}
	c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := c, key
	if a.cert != nil {
		parent, signer = a.cert, a.key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, signer)
	if err != nil {
		a.tb.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.tb.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.tb.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{".pem": {Type: "CERTIFICATE", Bytes: der}, ".key": {Type: "PRIVATE KEY", Bytes: raw}} {
		if err := os.WriteFile(filepath.Join(a.dir, name+file), pem.EncodeToMemory(block), 0o600); err != nil {
			a.tb.Fatal(err)
		}
	}
	return key, cert
}

// certificate is one for loopback, and returns its files.
func (a *authority) certificate(name string) (cert, key string) {
	a.tb.Helper()
	a.issue(name, &x509.Certificate{
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	})
	return filepath.Join(a.dir, name+".pem"), filepath.Join(a.dir, name+".key")
}

// tlsServer is a NATS that wants TLS, and a certificate of its callers where verify is set.
func tlsServer(tb testing.TB, a *authority, verify bool) string {
	tb.Helper()
	cert, key := a.certificate("server")
	config, err := server.GenTLSConfig(&server.TLSConfigOpts{CertFile: cert, KeyFile: key, CaFile: a.file, Verify: verify})
	if err != nil {
		tb.Fatal(err)
	}
	// Under nats:// it is the authority alone that makes it TLS.
	return strings.Replace(running(tb, server.Options{TLS: true, TLSVerify: verify, TLSConfig: config}), "tls://", "nats://", 1)
}

func running(tb testing.TB, o server.Options) string {
	tb.Helper()
	o.Host, o.Port, o.NoSigs, o.NoLog, o.JetStream, o.StoreDir = "127.0.0.1", server.RANDOM_PORT, true, true, true, tb.TempDir()
	s, err := server.NewServer(&o)
	if err != nil {
		tb.Fatal(err)
	}
	s.Start()
	tb.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(10 * time.Second) {
		tb.Fatal("the server does not start")
	}
	return s.ClientURL()
}

// A bus believes the authority that it was told of and no other, and shows its own certificate where one is wanted.
func TestTLSToTheBus(t *testing.T) {
	ours, strangers := newAuthority(t, "ours"), newAuthority(t, "strangers")
	cert, key := ours.certificate("client")
	strange, strangeKey := strangers.certificate("client")
	connect := func(url string, o bus.TLS) error {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		b, err := bus.Visit(ctx, bus.Options{URL: url, Name: contract.Policy, TLS: o, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			return err
		}
		defer func() { _ = b.Close(context.Background()) }()
		return b.Ready(ctx)
	}
	open, verifying := tlsServer(t, ours, false), tlsServer(t, ours, true)
	plain := running(t, server.Options{})
	for _, row := range []struct {
		name, url string
		tls       bus.TLS
		in        bool
	}{
		{"our authority", open, bus.TLS{CAFile: ours.file}, true},
		{"the system's authorities", open, bus.TLS{}, false},
		{"another authority", open, bus.TLS{CAFile: strangers.file}, false},
		{"own certificate", verifying, bus.TLS{CAFile: ours.file, CertFile: cert, KeyFile: key}, true},
		{"no certificate", verifying, bus.TLS{CAFile: ours.file}, false},
		{"a stranger's certificate", verifying, bus.TLS{CAFile: ours.file, CertFile: strange, KeyFile: strangeKey}, false},
		{"a server without TLS", plain, bus.TLS{CAFile: ours.file}, false},
		{"a server without TLS, and nobody asks", plain, bus.TLS{}, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			if err := connect(row.url, row.tls); (err == nil) != row.in {
				t.Errorf("connected: %t, want %t (%v)", err == nil, row.in, err)
			}
		})
	}
}

// What cannot be used is named at the start, not found out when a connection is made.
func TestTLSFilesAreLookedAt(t *testing.T) {
	ours, strangers := newAuthority(t, "ours"), newAuthority(t, "strangers")
	cert, key := ours.certificate("client")
	_, other := strangers.certificate("client")
	gone := filepath.Join(t.TempDir(), "gone.pem")
	for _, row := range []struct {
		tls  bus.TLS
		says []string
	}{
		{bus.TLS{}, nil},
		{bus.TLS{CAFile: ours.file, CertFile: cert, KeyFile: key}, nil},
		{bus.TLS{CAFile: gone}, []string{"NATS_CA_FILE: ", "gone.pem"}},
		{bus.TLS{CAFile: key}, []string{"NATS_CA_FILE: ", "no certificate"}},
		{bus.TLS{CertFile: cert}, []string{"NATS_CERT_FILE: ", "NATS_KEY_FILE"}},
		{bus.TLS{KeyFile: key}, []string{"NATS_CERT_FILE: ", "NATS_KEY_FILE"}},
		{bus.TLS{CertFile: cert, KeyFile: other}, []string{"NATS_CERT_FILE: ", "does not match"}},
	} {
		got := strings.Join(row.tls.Problems(), "\n")
		if row.says == nil && got != "" {
			t.Errorf("%+v: %s", row.tls, got)
		}
		for _, s := range row.says {
			if !strings.Contains(got, s) {
				t.Errorf("%+v: %q does not say %q", row.tls, got, s)
			}
		}
	}
}
