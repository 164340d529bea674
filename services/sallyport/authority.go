package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// How long certificates last. The authority's is made once; others are made again by whoever runs `sallyport provision` in
// their last ninety days.
const (
	authorityLife   = 20 * 365 * 24 * time.Hour
	certificateLife = 2 * 365 * 24 * time.Hour
	renewBefore     = 90 * 24 * time.Hour
)

// authority signs the certificates of an installation's own servers.
type authority struct {
	cert *x509.Certificate
	key  any
	pem  []byte
	now  time.Time
}

// openAuthority reads the authority of a directory, or makes it.
func openAuthority(dir string, now time.Time) (*authority, error) {
	certFile, keyFile := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "ca.key")
	if _, err := os.Stat(certFile); errors.Is(err, fs.ErrNotExist) {
		self := &x509.Certificate{
			Subject: pkix.Name{CommonName: "Sallyport's own authority"}, NotAfter: now.Add(authorityLife),
			IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true, KeyUsage: x509.KeyUsageCertSign,
		}
		if err := (&authority{now: now}).sign(self, certFile, keyFile); err != nil {
			return nil, fmt.Errorf("authority: %w", err)
		}
	}
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return nil, fmt.Errorf("authority: %w", err)
	}
	return &authority{pair.Leaf, pair.PrivateKey, encodePEM("CERTIFICATE", pair.Leaf.Raw), now}, nil
}

// issue makes sure that dir holds NAME.pem and NAME.key, for these hosts and long enough. It is good for a server, and for
// a member of a cluster that calls another.
func (a *authority) issue(dir, name string, hosts []string) error {
	certFile, keyFile := filepath.Join(dir, name+".pem"), filepath.Join(dir, name+".key")
	if pair, err := tls.LoadX509KeyPair(certFile, keyFile); err == nil && a.serves(pair.Leaf, hosts) {
		return nil
	}
	c := &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, NotAfter: a.now.Add(certificateLife),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			c.IPAddresses = append(c.IPAddresses, ip)
		} else {
			c.DNSNames = append(c.DNSNames, h)
		}
	}
	if err := a.sign(c, certFile, keyFile); err != nil {
		return fmt.Errorf("certificate of %s: %w", name, err)
	}
	return nil
}

// serves tells whether a certificate is ours, names these hosts and has long enough to go.
func (a *authority) serves(c *x509.Certificate, hosts []string) bool {
	for _, h := range hosts {
		named := slices.Contains(c.DNSNames, h) // a pattern, such as *.nats-headless, too
		if ip := net.ParseIP(h); ip != nil {
			named = c.VerifyHostname(h) == nil
		}
		if !named {
			return false
		}
	}
	return c.CheckSignatureFrom(a.cert) == nil && c.NotAfter.Sub(a.now) > renewBefore
}

// sign makes a key and a certificate for it; an authority without a key lets it sign itself.
func (a *authority) sign(c *x509.Certificate, certFile, keyFile string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	if c.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127)); err != nil {
		return err
	}
	c.NotBefore = a.now.Add(-time.Hour) // clocks differ
	parent, signer := a.cert, a.key
	if signer == nil {
		parent, signer = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, signer)
	if err != nil {
		return err
	}
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	// The certificate comes second: where it is, its key is.
	return errors.Join(put(keyFile, encodePEM("PRIVATE KEY", raw)), put(certFile, encodePEM("CERTIFICATE", der)))
}

func encodePEM(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}
