package bus

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"

	"github.com/nats-io/nats.go"
)

// TLS says whom we believe to be NATS, and who we are to it. The zero value believes the authorities of the system, and is
// enough for a server (tls://…) with a public certificate.
type TLS struct {
	// CAFile holds the authorities (PEM) that may have signed the server's certificate, instead of the system's. Where it
	// is set, a server without TLS is refused.
	CAFile string
	// CertFile and KeyFile are our own certificate, for a server that wants one (verify: true).
	CertFile, KeyFile string
}

// Problems returns what is wrong with the files. Each names its variable of the services.
func (t TLS) Problems() []string {
	var out []string
	if t.CAFile != "" {
		raw, err := os.ReadFile(t.CAFile)
		switch {
		case err != nil:
			out = append(out, fmt.Sprintf("NATS_CA_FILE: %v", err))
		case !x509.NewCertPool().AppendCertsFromPEM(raw):
			out = append(out, fmt.Sprintf("NATS_CA_FILE: %s holds no certificate (PEM)", t.CAFile))
		}
	}
	switch {
	case (t.CertFile == "") != (t.KeyFile == ""):
		out = append(out, "NATS_CERT_FILE: set it and NATS_KEY_FILE, or neither")
	case t.CertFile != "":
		if _, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile); err != nil {
			out = append(out, fmt.Sprintf("NATS_CERT_FILE: %v", err))
		}
	}
	return out
}

// options are those of a connection. The files are read again with each connection, so that a certificate that was
// replaced is used from the next one on.
func (t TLS) options() []nats.Option {
	var opts []nats.Option
	if t.CAFile != "" {
		opts = append(opts, nats.RootCAs(t.CAFile))
	}
	if t.CertFile != "" {
		opts = append(opts, nats.ClientCert(t.CertFile, t.KeyFile))
	}
	return opts
}
