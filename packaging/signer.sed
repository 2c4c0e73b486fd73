# Makes the package's signer.toml of examples/signer.toml: where the package's units and users expect things.
/^\[listen\]/,/^\[operators\]/ s@^\([a-z# -]*= "\)\([a-z-]*\.\(pem\|key\|crl\)"\)@\1front/\2@
/^\[operators\]/,/^\[process\]/ s@^\([a-z# -]*= "\)\([a-z-]*\.\(pem\|key\|crl\)"\)@\1operators/\2@
s@^# \(\(core\|front\|operators\)-user = .*\)@\1@
s@^database = "hallmark.db"@database = "/var/lib/hallmark/hallmark.db"@
s@^backups = "backups"@backups = "/var/lib/hallmark/backups"@
s@^key = "log.key"@key = "/var/lib/hallmark/log.key"@
s@^publish = "log"@publish = "/var/lib/hallmark-log"@
s@^pin = { file = "pin" } @pin = { credential = "hallmark.pin" } @
