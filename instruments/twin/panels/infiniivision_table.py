"""Plain settings of a simulated InfiniiVision oscilloscope: kept, queried and reset; what acts on records is elsewhere.

Headers, words and ranges from the programmer's guides of the 2000, 3000T and 4000 X-Series.
"""

ACQUISITION = """
    ACQuire:TYPE                  NORM     words NORMal AVERage PEAK HRESolution
    ACQuire:MODE                  RTIM     words RTIMe
    ACQuire:COMPlete              100      int 100 100
    ACQuire:COUNt                 8        int 2 65536
    ACQuire:DAALias               AUTO     words AUTO DISable
    ACQuire:DIGitizer             0        bool
    ACQuire:SEGMented:COUNt       2        int 2 1000
    ACQuire:SEGMented:INDex       1        int 1 1000
    ACQuire:RSIGnal               NONE     words NONE EXTernal INTernal
    AUToscale:AMODE               NORM     words NORMal CURRent
    AUToscale:CHANnels            ALL      words ALL DISPlayed
    AUToscale:FDEBug              0        bool
    TIMebase:REFerence:LOCation   0.5      real 0 1
    TIMebase:MODE                 MAIN     words MAIN WINDow XY ROLL
    TIMebase:REFerence            CENT     words LEFT CENTer RIGHt CUSTom
    TIMebase:POSition             0        real -500 5000 s
    TIMebase:VERNier              0        bool
    TIMebase:DELay                0        real -500 5000 s @TIMebase:POSition
    TIMebase:WINDow:POSition      0        real -500 5000 s
    TIMebase:WINDow:RANGe         5e-4     real 20e-9 500 s
    TIMebase:WINDow:SCALe         5e-5     real 2e-9 50 s
    WAVeform:FORMat               BYTE     words BYTE WORD ASCii
    WAVeform:UNSigned             1        bool
    WAVeform:BYTeorder            MSBF     words MSBFirst LSBFirst
    WAVeform:POINts:MODE          NORM     words NORMal MAXimum RAW
    WAVeform:VIEW                 MAIN     words MAIN ALL
    WAVeform:SOURce:SUBSource     SUB0     words SUB0 SUB1
"""
INPUTS = """
    CHANnel<n>:BWLimit            0        bool
    CHANnel<n>:INVert             0        bool
    CHANnel<n>:VERNier            0        bool
    CHANnel<n>:DISPlay            0        bool
    CHANnel<n>:COUPling           DC       words AC DC
    CHANnel<n>:IMPedance          ONEM     words ONEMeg FIFTy
    CHANnel<n>:PROBe:HEAD[:TYPE]  NONE     words SEND0 SEND6 SEND12 SEND20 DIFF0 DIFF6 DIFF12 DIFF20 NONE
    CHANnel<n>:PROBe:EXTernal     0        bool
    CHANnel<n>:PROBe:EXTernal:GAIN 1       real 1e-4 1e4
    CHANnel<n>:PROBe:EXTernal:UNITs VOLT   words VOLT AMPere
    CHANnel<n>:PROBe:MMODel       P10      words P10 P100
    EXTernal:DISPlay              0        bool
    EXTernal:LABel                -        text 10
    EXTernal:LEVel                0        real -8 8 V
    WMEMory<n>:DISPlay            0        bool
    WMEMory<n>:LABel              -        text 10
    WMEMory<n>:SKEW               0        real -1e3 1e3 s
    EXTernal:RANGe                8        real -400 400 V
    CHANnel<n>:UNITs              VOLT     words VOLT AMPere
    CHANnel<n>:PROBe:SKEW         0        real -100e-9 100e-9 s
    CHANnel<n>:PROBe:STYPe        SING     words DIFFerential SINGle
    CHANnel<n>:PROBe:ID           NONE     words NONE
    EXTernal:BWLimit              0        bool
    EXTernal:PROBe                1        real 0.001 10000
    EXTernal:UNITs                VOLT     words VOLT AMPere
    EXTernal:POSition             0        real -500 500
"""
TRIGGER = """
    TRIGger:MODE                  EDGE     words EDGE GLITch PATTern TV RUNT TRANsition DELay EBURst OR SHOLd
    TRIGger:SWEep                 AUTO     words AUTO NORMal
    TRIGger:HFReject              0        bool
    TRIGger:NREJect               0        bool
    TRIGger:HOLDoff               40e-9    real 40e-9 10 s
    TRIGger[:EDGE]:SLOPe          POS      words POSitive NEGative EITHer ALTernate
    TRIGger[:EDGE]:COUPling       DC       words DC AC LFReject
    TRIGger[:EDGE]:REJect         OFF      words OFF LFReject HFReject
    TRIGger:GLITch:GREaterthan    3e-8     real 2e-9 10 s
    TRIGger:GLITch:LESSthan       3e-8     real 2e-9 10 s
    TRIGger:GLITch:QUALifier      LESS     words GREaterthan LESSthan RANGe
    TRIGger:GLITch:POLarity       POS      words POSitive NEGative
    TRIGger:GLITch:LEVel          0        real -400 400 V
    TRIGger:TV:LINE               1        int 1 1100
    TRIGger:TV:MODE               ALIN     words FIEld1 FIEld2 ALLFields LINE LFIeld1 LFIeld2 LALTernate ALINes
    TRIGger:TV:POLarity           NEG      words POSitive NEGative
    TRIGger:TV:STANdard           NTSC     words NTSC PAL PALM SECam
    TRIGger:JFRee                 0        bool
    TRIGger:GLITch:SOURce         CHAN1    words CHANnel1 CHANnel2 CHANnel3 CHANnel4
    TRIGger:TV:SOURce             CHAN1    words CHANnel1 CHANnel2 CHANnel3 CHANnel4
    TRIGger:RUNT:SOURce           CHAN1    words CHANnel1 CHANnel2 CHANnel3 CHANnel4
    TRIGger:RUNT:POLarity         POS      words POSitive NEGative EITHer
    TRIGger:RUNT:QUALifier        NONE     words GREaterthan LESSthan NONE
    TRIGger:RUNT:TIME             15e-9    real 2e-9 10 s
    TRIGger:TRANsition:SOURce     CHAN1    words CHANnel1 CHANnel2 CHANnel3 CHANnel4
    TRIGger:TRANsition:SLOPe      POS      words POSitive NEGative
    TRIGger:TRANsition:QUALifier  GRE      words GREaterthan LESSthan
    TRIGger:TRANsition:TIME       15e-9    real 2e-9 10 s
    TRIGger:PATTern:FORMat        ASC      words ASCii HEX
    TRIGger:PATTern:QUALifier     ENT      words ENTered GREaterthan LESSthan INRange OUTRange TIMeout
    TRIGger:PATTern:GREaterthan   15e-9    real 2e-9 10 s
    TRIGger:PATTern:LESSthan      15e-9    real 2e-9 10 s
    TRIGger:DELay:ARM:SOURce      CHAN1    words CHANnel1 CHANnel2 CHANnel3 CHANnel4
    TRIGger:DELay:ARM:SLOPe       POS      words POSitive NEGative
    TRIGger:DELay:TDELay:TIME     4e-9     real 4e-9 10 s
    TRIGger:DELay:TRIGger:COUNt   1        int 1 65535
    TRIGger:DELay:TRIGger:SOURce  CHAN1    words CHANnel1 CHANnel2 CHANnel3 CHANnel4
    TRIGger:DELay:TRIGger:SLOPe   POS      words POSitive NEGative
    TRIGger:EBURst:COUNt          1        int 1 65535
    TRIGger:EBURst:IDLE           1e-6     real 10e-9 10 s
    TRIGger:EBURst:SOURce         CHAN1    words CHANnel1 CHANnel2 CHANnel3 CHANnel4
    TRIGger:EBURst:SLOPe          POS      words POSitive NEGative
    TRIGger:SHOLd:SLOPe           POS      words POSitive NEGative
    TRIGger:SHOLd:SOURce:CLOCk    CHAN1    words CHANnel1 CHANnel2 CHANnel3 CHANnel4
    TRIGger:SHOLd:SOURce:DATA     CHAN2    words CHANnel1 CHANnel2 CHANnel3 CHANnel4
    TRIGger:SHOLd:TIME:HOLD       15e-9    real 0 10 s
    TRIGger:SHOLd:TIME:SETup      15e-9    real 0 10 s
"""
SCREEN = """
    DISPlay:ANNotation<n>             0    bool
    DISPlay:ANNotation<n>:TEXT        -    text 254
    DISPlay:ANNotation<n>:BACKground  OPAQ words OPAQue INVerted TRANsparent
    DISPlay:ANNotation<n>:COLor       WHIT words CH1 CH2 CH3 CH4 DIG MATH REF MARKer WHITe RED
    DISPlay:ANNotation<n>:X1Position  0    real -1e4 1e4
    DISPlay:ANNotation<n>:Y1Position  0    real -1e4 1e4
    DISPlay:INTensity:WAVeform        50   int 0 100
    DISPlay:BACKlight                 1    bool
    DISPlay:GRATicule:ALABels         0    bool
    DISPlay:GRATicule:INTensity       20   int 0 100
    DISPlay:GRATicule:TYPE            FULL words FULL MVOLt IRE
    DISPlay:MENU                      OFF  words OFF MASK MEASure SEGMented LISTer POWer
    DISPlay:MENU:TIMeout              OFF  real 1 3600 or OFF
    DISPlay:TRANsparent               0    bool
    DISPlay:LABel                     0    bool
    DISPlay:PERSistence               MIN  real 0.1 60 s or MINimum INFinite
    DISPlay:SIDebar                   SUMM words SUMMary CURSors MEASurements DVM NAVigate CONTrols
    DISPlay:VECTors                   1    bool
    HARDcopy:AREA                     SCR  words SCReen
    HARDcopy:APRinter                 -    text 64
    HARDcopy:FACTors                  0    bool
    HARDcopy:FFEed                    0    bool
    HARDcopy:INKSaver                 1    bool
    HARDcopy:LAYout                   LAND words LANDscape PORTrait
    HARDcopy:PALette                  COL  words COLor GRAYscale NONE
    SAVE:IMAGe:FACTors                0    bool
    SAVE:IMAGe:INKSaver               1    bool
    SAVE:IMAGe:PALette                COL  words COLor GRAYscale
    SAVE:FILename                     -    text 64
    MARKer:MODE                       OFF  words OFF MEASurement MANual WAVeform BINary HEX
    MARKer:X1Position                 0    real -5000 5000 s
    MARKer:X2Position                 0    real -5000 5000 s
    MARKer:Y1Position                 0    real -4e5 4e5 V
    MARKer:Y2Position                 0    real -4e5 4e5 V
    MARKer:XUNits                     SEC  words SEConds HERTz DEGRees PERCent
    MARKer:YUNits                     BASE words BASE PERCent
    MARKer:X1Y1source                 CHAN1 words CHANnel1 CHANnel2 CHANnel3 CHANnel4 NONE
    MARKer:X2Y2source                 CHAN1 words CHANnel1 CHANnel2 CHANnel3 CHANnel4 NONE
    SAVE:PWD                          -    text 254
    SAVE:IMAGe:FORMat                 PNG  words BMP BMP8bit BMP24bit PNG NONE
    SAVE:WAVeform:FORMat              NONE words ASCiixy CSV BINary ALB NONE
    SAVE:WAVeform:LENGth              1000 real 100 8e6 or MAX
    SAVE:WAVeform:LENGth:MAX          0    bool
    SAVE:WAVeform:SEGMented           CURR words ALL CURRent
    SAVE:WMEMory:SOURce               CHAN1 words CHANnel1 CHANnel2 CHANnel3 CHANnel4 FUNCtion MATH
    RECall:FILename                   -    text 64
    RECall:PWD                        -    text 254
    CALibrate:LABel                   -    text 32
    CALibrate:OUTPut                  TRIG words TRIGgers WAVEgen NONE
    SYSTem:TOUCh                      1    bool
    SYSTem:TZONe                      -    text 32
    SYSTem:RLOGger                    0    bool
    SYSTem:USB:EJECt                  0    bool
    SYSTem:DSP                        -    text 254
    SYSTem:LOCK                       0    bool
    SYSTem:PRECision                  0    bool
    SYSTem:PROTection:LOCK            0    bool
    SYSTem:MENU                       OFF  words OFF MASK MEASure SEGMented LISTer POWer CURSor
    DVM:ENABle                        0    bool
    DVM:ARANge                        1    bool
    DVM:MODE                          ACRM words ACRMs DC DCRMs FREQuency
    DVM:SOURce                        CHAN1 words CHANnel1 CHANnel2 CHANnel3 CHANnel4
    MEASure:STATistics                ON   words ON CURRent MINimum MAXimum MEAN STDDev COUNt
    MEASure:STATistics:DISPlay        1    bool
    MEASure:STATistics:MCOunt         2000 int 2 2000 or INFinite
    MEASure:STATistics:RSDeviation    0    bool
    COUNter:ENABle                    0    bool
    COUNter:MODE                      FREQ words FREQuency PERiod TOTalize
    COUNter:NDIGits                   5    int 3 8
    COUNter:SOURce                    CHAN1 words CHANnel1 CHANnel2 CHANnel3 CHANnel4
    MEASure:WINDow                    AUTO words MAIN ZOOM AUTO GATE
    MEASure:SHOW                      1    bool
"""
MATHS = """
    FUNCtion:DISPlay              0        bool
    FUNCtion:OPERation            SUBT     words {operators}
    FUNCtion:SOURce1              CHAN1    words CHANnel1 CHANnel2 CHANnel3 CHANnel4
    FUNCtion:SOURce2              CHAN2    words CHANnel1 CHANnel2 CHANnel3 CHANnel4
    FUNCtion:REFerence            0        real -1e9 1e9 @FUNCtion:OFFSet
    FUNCtion:OFFSet               0        real -1e9 1e9
    FUNCtion:LABel                -        text 10
    FUNCtion:FFT:VTYPe            DEC      words DECibel VRMS
    FUNCtion:FFT:WINDow           HANN     words RECTangular HANNing FLATtop BHARris BARTlett
    FUNCtion:INTegrate:IOFFset    0        real -1e9 1e9 V
    FUNCtion:LINear:GAIN          1        real -1e9 1e9
    FUNCtion:LINear:OFFSet        0        real -1e9 1e9
    FUNCtion:FREQuency:LOWPass    1e6      real 1 1e11 Hz
    FUNCtion:FREQuency:HIGHpass   1e6      real 1 1e11 Hz
    FFT:DISPlay                   0        bool
    FFT:SOURce1                   CHAN1    words CHANnel1 CHANnel2 CHANnel3 CHANnel4
    FFT:VTYPe                     DEC      words DECibel VRMS
    FFT:WINDow                    HANN     words RECTangular HANNing FLATtop BHARris BARTlett
    FFT:REFerence                 -60      real -1e9 1e9 @FFT:OFFSet
    FFT:OFFSet                    -60      real -1e9 1e9
""".format(
    operators=(
        "ADD SUBTract MULTiply DIVide FFT DIFF INTegrate SQRT ABSolute SQUare LN LOG EXP TEN MAGNify LINear LOWPass "
        "HIGHpass"
    )
)
GENERATOR = """
    WGEN:OUTPut                       0    bool
    WGEN:OUTPut:LOAD                  ONEM words ONEMeg FIFTy
    WGEN:OUTPut:POLarity              NORM words NORMal INVerted
    WGEN:FUNCtion                     SIN  words SINusoid SQUare RAMP PULSe NOISe DC SINC CARDiac GAUSsian
    WGEN:FUNCtion:PULSe:WIDTh         1e-4 real 20e-9 10 s
    WGEN:FUNCtion:RAMP:SYMMetry       50   real 0 100
    WGEN:FUNCtion:SQUare:DCYCle       50   real 20 80
    WGEN:FREQuency                    1e3  real 0.1 20e6 Hz
    WGEN:PERiod                       1e-3 real 50e-9 10 s
    WGEN:VOLTage                      0.5  real 0 20 V
    WGEN:VOLTage:OFFSet               0    real -10 10 V
    WGEN:VOLTage:HIGH                 0.25 real -10 10 V
    WGEN:VOLTage:LOW                  -0.25 real -10 10 V
    WGEN:MODulation:STATe             0    bool
    WGEN:MODulation:TYPE              AM   words AM FM FSK
    WGEN:MODulation:AM:DEPTh          100  real 0 100
    WGEN:MODulation:AM:FREQuency      100  real 0.1 2e4 Hz
    WGEN:MODulation:FM:DEViation      1e3  real 1 1e7 Hz
    WGEN:MODulation:FM:FREQuency      100  real 0.1 2e4 Hz
    WGEN:MODulation:NOISe             0    real 0 100
"""
"""The built-in waveform generator; its output is wired to nothing here."""
