# Runs the interop server that Debian's ruby-grpc ships, as it is: ruby.rb [CERTIFICATE KEY]
# It prints its port and ends when stdin does. Only where it listens, and the certificate, are ours.
require "grpc"

CERTIFICATE, KEY = ARGV.map { |path| File.read(path) }

# The server is told port 0, and would keep to itself which one it got.
module Announced
  def add_http2_port(_host, credentials)
    unless CERTIFICATE.nil?
      pair = { private_key: KEY, cert_chain: CERTIFICATE }
      credentials = GRPC::Core::ServerCredentials.new(nil, [pair], false)
    end
    port = super("127.0.0.1:0", credentials)
    puts %({"port":#{port}})
    $stdout.flush
    port
  end
end
GRPC::RpcServer.prepend(Announced)

Thread.new do
  $stdin.read
  exit!(0)
end

ARGV.replace(["--port", "0"])
load File.join(Gem.loaded_specs["grpc"].full_gem_path, "src/ruby/pb/test/server.rb")
