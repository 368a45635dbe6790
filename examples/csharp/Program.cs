// A microscope controller in C# (.NET 8, Windows or Linux): frames from a camera's callback to cellsegd, cells back.
//
//   dotnet run -- [ADDRESS [FRAMES]]
//
// ADDRESS is http://HOST:PORT (this machine only) or https://HOST:PORT, with cellsegd-ca.pem and cellsegd-token.txt beside the program,
// as `cellsegd pair` on the daemon's machine prints them. Nothing goes into Windows' certificate store.
// CI has no .NET SDK: this program is not built there. The names that it takes from the contract are held against those that
// Grpc.Tools makes of it.
//
// The camera never waits: what the queue has no room for is lost, and counted. The sending half waits where the daemon's window is full.

using System.Net.Security;
using System.Runtime.InteropServices;
using System.Security.Cryptography.X509Certificates;
using System.Threading.Channels;
using Cellseg.V1;
using Google.Protobuf;
using Grpc.Core;
using Grpc.Net.Client;

var address = args.Length > 0 ? args[0] : "http://127.0.0.1:50051";
var frames = args.Length > 1 ? ulong.Parse(args[1]) : 20;

using var channel = Connect(address);
using var stream = new Segmenter.SegmenterClient(channel).Stream();

// A session's first message opens it. What is not set takes the model's or the server's default.
var options = new SessionOptions { Name = "Program.cs", Tracking = new Tracking() };
await stream.RequestStream.WriteAsync(new StreamRequest { Open = options });
if (!await stream.ResponseStream.MoveNext(CancellationToken.None)) throw new IOException("not cellsegd");
var opened = stream.ResponseStream.Current.Opened;
Console.WriteLine($"model {opened.Model.Name} on {opened.Device}, {opened.Window} frames in flight");

var window = new SemaphoreSlim((int)opened.Window);
var queue = Channel.CreateBounded<Frame>(64);
var camera = new Thread(() => Camera(frames, queue.Writer));
camera.Start();

var sending = Task.Run(async () =>
{
    await foreach (var frame in queue.Reader.ReadAllAsync())
    {
        await window.WaitAsync();
        await stream.RequestStream.WriteAsync(new StreamRequest { Frame = frame });
    }
    // No more frames: the daemon says goodbye once all are answered.
    await stream.RequestStream.CompleteAsync();
});

// Every frame has exactly one reply, in the order in which they were sent.
while (await stream.ResponseStream.MoveNext(CancellationToken.None))
{
    var reply = stream.ResponseStream.Current;
    switch (reply.ReplyCase)
    {
        case StreamReply.ReplyOneofCase.Frame:
            window.Release();
            Print(reply.Frame);
            break;
        case StreamReply.ReplyOneofCase.Closed:
            Console.WriteLine($"{reply.Closed.Frames} frames: {reply.Closed.Segmented} segmented, " +
                              $"{reply.Closed.Dropped} dropped, {reply.Closed.Failed} failed");
            break;
    }
}
await sending;
camera.Join();

static void Print(FrameReply reply)
{
    switch (reply.OutcomeCase)
    {
        case FrameReply.OutcomeOneofCase.Segmentation:
            Console.WriteLine($"frame {reply.Id}: {reply.Segmentation.Instances.Count} cells");
            foreach (var cell in reply.Segmentation.Instances)
            {
                var mother = cell.Track.HasParentId ? $", of {cell.Track.ParentId}" : "";
                // Pixel edges: x to the right, y down.
                Console.WriteLine($"  id {cell.Track.Id}{mother}: score {cell.Score:F2}, " +
                                  $"{cell.Box.X0},{cell.Box.Y0} to {cell.Box.X1},{cell.Box.Y1}");
            }
            break;
        case FrameReply.OutcomeOneofCase.Dropped:
            Console.WriteLine($"frame {reply.Id}: dropped, {reply.Dropped.Reason}");
            break;
        case FrameReply.OutcomeOneofCase.Failed:
            Console.WriteLine($"frame {reply.Id}: failed, {reply.Failed.Message}");
            break;
    }
}

// Stands for yours: a thread that calls when a picture is there. 640 x 480, 16 bit, one bright disc that drifts to the right.
static void Camera(ulong frames, ChannelWriter<Frame> queue)
{
    const int width = 640, height = 480;
    var lost = 0;
    for (ulong id = 0; id < frames; id++)
    {
        var counts = new ushort[width * height];
        var centre = 100 + 4 * (int)(id % 110);
        for (var y = 0; y < height; y++)
            for (var x = 0; x < width; x++)
                counts[y * width + x] = (x - centre) * (x - centre) + (y - 240) * (y - 240) < 1600 ? (ushort)30000 : (ushort)2000;
        var pixels = new RawPixels
        {
            Format = PixelFormat.Mono16, // little-endian, as every PC is
            Width = width,
            Height = height,
            Data = ByteString.CopyFrom(MemoryMarshal.AsBytes(counts.AsSpan())),
        };
        var frame = new Frame { Id = id, Raw = pixels, Metadata = new FrameMetadata() };
        frame.Metadata.Index.Add("t", (uint)id);
        if (!queue.TryWrite(frame)) lost++;
        Thread.Sleep(200);
    }
    queue.Complete();
    if (lost > 0) Console.WriteLine($"{lost} frames were lost before they were sent");
}

static GrpcChannel Connect(string address)
{
    // Answers with the masks of large frames are over the stock bound of 4 MiB. Pings find a daemon whose machine has lost its power.
    var handler = new SocketsHttpHandler
    {
        KeepAlivePingDelay = TimeSpan.FromSeconds(10),
        KeepAlivePingTimeout = TimeSpan.FromSeconds(20),
    };
    var settings = new GrpcChannelOptions { HttpHandler = handler, MaxReceiveMessageSize = null };
    if (!address.StartsWith("https:")) return GrpcChannel.ForAddress(address, settings);

    var ca = X509Certificate2.CreateFromPem(File.ReadAllText("cellsegd-ca.pem"));
    var token = File.ReadAllText("cellsegd-token.txt").Trim();
    handler.SslOptions.RemoteCertificateValidationCallback = (_, certificate, chain, errors) =>
    {
        if (certificate is null || chain is null) return false;
        // The name must fit; that Windows does not know the CA is no error.
        if ((errors & ~SslPolicyErrors.RemoteCertificateChainErrors) != 0) return false;
        chain.ChainPolicy.TrustMode = X509ChainTrustMode.CustomRootTrust;
        chain.ChainPolicy.CustomTrustStore.Add(ca);
        chain.ChainPolicy.RevocationMode = X509RevocationMode.NoCheck;
        return chain.Build((X509Certificate2)certificate);
    };
    var bearer = CallCredentials.FromInterceptor((_, metadata) =>
    {
        metadata.Add("authorization", "Bearer " + token);
        return Task.CompletedTask;
    });
    settings.Credentials = ChannelCredentials.Create(ChannelCredentials.SecureSsl, bearer);
    return GrpcChannel.ForAddress(address, settings);
}
