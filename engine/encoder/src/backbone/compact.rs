//! The compact residual network that ships with Bitkin: 2.7 million parameters, made for pictures
//! of 64 x 64 pixels on a CPU (basic blocks of He et al., CVPR 2016).

use tch::{Kind, TchError, Tensor};

/// Width and number of residual blocks of each stage of the compact architecture. The first stage
/// keeps the stem's resolution, each later one halves it.
pub const COMPACT_STAGES: [(i64, usize); 4] = [(32, 1), (64, 1), (128, 2), (256, 2)];

/// One convolution of a plan.
#[derive(Clone, Debug)]
pub(crate) struct ConvPlan {
    pub(crate) name: String,
    pub(crate) input: i64,
    pub(crate) output: i64,
    pub(crate) kernel: i64,
    pub(crate) stride: i64,
}

/// Places of a block's convolutions in the plan's list.
struct Block {
    conv1: usize,
    conv2: usize,
    shortcut: Option<usize>,
}

/// How the convolutions of the compact residual network are joined.
pub(crate) struct CompactPlan {
    convs: Vec<ConvPlan>,
    blocks: Vec<Block>,
    dim: i64,
}

impl CompactPlan {
    pub(crate) fn new(stages: &[(i64, usize)]) -> CompactPlan {
        let mut width = stages[0].0;
        let conv = |name: String, input, output, kernel, stride| ConvPlan {
            name,
            input,
            output,
            kernel,
            stride,
        };
        let mut convs = vec![conv("stem".into(), 3, width, 3, 2)];
        let mut blocks = Vec::new();
        for (stage, &(output, count)) in stages.iter().enumerate() {
            for i in 0..count {
                let stride = if stage > 0 && i == 0 { 2 } else { 1 };
                let name = format!("blocks.{}", blocks.len());
                let conv1 = convs.len();
                convs.push(conv(format!("{name}.conv1"), width, output, 3, stride));
                convs.push(conv(format!("{name}.conv2"), output, output, 3, 1));
                let changes_shape = stride != 1 || width != output;
                if changes_shape {
                    convs.push(conv(format!("{name}.shortcut"), width, output, 1, stride));
                }
                let shortcut = changes_shape.then_some(conv1 + 2);
                blocks.push(Block {
                    conv1,
                    conv2: conv1 + 1,
                    shortcut,
                });
                width = output;
            }
        }
        CompactPlan {
            convs,
            blocks,
            dim: width,
        }
    }

    pub(crate) fn convs(&self) -> &[ConvPlan] {
        &self.convs
    }

    pub(crate) fn dim(&self) -> i64 {
        self.dim
    }

    /// `[n, 3, h, w]` to `[n, dim]`; `conv` applies a convolution without activation.
    pub(crate) fn forward(
        &self,
        x: &Tensor,
        conv: impl Fn(&ConvPlan, &Tensor) -> Result<Tensor, TchError>,
    ) -> Result<Tensor, TchError> {
        let conv = |index: usize, x: &Tensor| conv(&self.convs[index], x);
        let mut x = conv(0, x)?.f_relu_()?;
        for block in &self.blocks {
            let y = conv(block.conv2, &conv(block.conv1, &x)?.f_relu_()?)?;
            x = match block.shortcut {
                Some(shortcut) => y.f_add(&conv(shortcut, &x)?)?,
                None => y.f_add(&x)?,
            }
            .f_relu_()?;
        }
        x.f_mean_dim([2i64, 3].as_slice(), false, Kind::Float)
    }
}
